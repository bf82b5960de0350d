"""Other people's packages on flambeau: their own suites, from the archives that their authors publish.

Archives are downloaded by pip once, into a folder of the environment that runs the tests; nothing of them is kept in
this repository.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.programs import environment

CACHE = Path(sys.prefix) / "package-suites"

#: Tests that can't pass anywhere without what they ask for: no network, no other framework, no GPU.
SUITES = {
    # `pretrained=True` downloads weights
    "torchinfo==1.6.0": ("tests", ["-k", "not eval_order_doesnt_matter"], {}),
    "einops==0.8.2": ("einops/tests", [], {"EINOPS_TEST_BACKENDS": "numpy,torch"}),
}


def source(requirement):
    """The folder of an unpacked source archive."""
    CACHE.mkdir(exist_ok=True)
    name, _, version = requirement.partition("==")
    folder = CACHE / f"{name}-{version}"
    if folder.exists():
        return folder
    unpacked = CACHE / f"{folder.name}.{os.getpid()}"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps",
               "--no-binary", ":all:", "--dest", str(unpacked), requirement]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    archives = list(unpacked.glob("*.tar.gz"))
    if done.returncode or not archives:
        shutil.rmtree(unpacked)
        pytest.fail(f"pip can't download the source archive of {requirement}, whose suite is to run:\n{done.stderr}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(unpacked, filter="data")
    (inner,) = (path for path in unpacked.iterdir() if path.is_dir())
    inner.rename(folder)
    shutil.rmtree(unpacked)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("requirement", SUITES)
def test_a_packages_own_suite_passes(requirement):
    folder = source(requirement)
    tests, options, variables = SUITES[requirement]
    pytest_alone = ["pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider"]  # no settings of ours
    command = [sys.executable, "-m", "flambeau", "run", "-m", *pytest_alone, tests, *options]
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join([str(folder), env["PYTHONPATH"]])
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])  # suites start `python`
    env.update(variables, COLUMNS="80")
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout.strip().splitlines()[-1], done.stdout[-2000:]
