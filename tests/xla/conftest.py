"""Everything in this folder runs on device `xla`, XLA's own CPU, and is skipped where JAX is not installed."""

import importlib
import importlib.util
import itertools
import os
import sys

import pytest

from tests.xla.processes import quick_compiling

if importlib.util.find_spec("jax") is None:
    collect_ignore_glob = ["test_*.py"]

os.environ.update(quick_compiling(os.environ.get("XLA_FLAGS", "")))
_count = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption("--part", help="i/n: the i-th of n parts of these tests, for several machines or processes")


def pytest_collection_modifyitems(config, items):
    part = config.getoption("--part")
    if part:
        i, n = (int(v) for v in part.split("/"))
        mine = [item for k, item in enumerate(items) if k % n == i - 1]
        config.hook.pytest_deselected(items=[item for k, item in enumerate(items) if k % n != i - 1])
        items[:] = mine


@pytest.fixture(autouse=True)
def few_programs():
    """Forgets compiled programs now and then, which hold memory."""
    yield
    if next(_count) % 40 == 0:
        import jax

        from flambeau.engines.xla.calls import forget

        forget()
        jax.clear_caches()


@pytest.fixture
def as_torch(monkeypatch):
    """Within a test, what it imports gets flambeau for torch."""
    for name in ("torch", "torch.nn", "torch.nn.functional"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name.replace("torch", "flambeau", 1)))
