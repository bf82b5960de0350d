"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import inspect

import pytest

from tests.programs import ROOT

PACKAGE = ROOT / "src" / "flambeau"
SKIPPED = {"flambeau.__main__"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("flambeau", *path.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if name not in SKIPPED and ">>> " in path.read_text(encoding="utf-8"):
            yield name


class Finder(doctest.DocTestFinder):
    """Finds the public functions of ops too, which are made by a decorator."""

    def _from_module(self, module, object):
        if inspect.isfunction(object):
            return module.__name__ == object.__module__
        return super()._from_module(module, object)


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name):
    import flambeau

    try:
        module = importlib.import_module(name)
    except flambeau.devices.DeviceError:
        pytest.skip("needs JAX")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
    report = []
    found = 0
    for example in Finder(exclude_empty=True).find(module, name):
        flambeau.manual_seed(0)
        example.globs["torch"] = flambeau
        found += len(example.examples)
        runner.run(example, out=report.append)
    assert found, "no example was found in a file that has some"
    assert not runner.summarize(verbose=False).failed, "".join(report)
