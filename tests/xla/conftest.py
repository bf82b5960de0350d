"""Everything in this folder runs on device `xla`, XLA's own CPU, and is skipped where JAX is not installed."""

import importlib.util
import itertools
import os

import pytest

if importlib.util.find_spec("jax") is None:
    collect_ignore_glob = ["test_*.py"]

# thousands of small programs run once each: compiling is what takes the time
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
_count = itertools.count(1)


@pytest.fixture(autouse=True)
def few_programs():
    """Forgets compiled programs now and then, which hold memory."""
    yield
    if next(_count) % 40 == 0:
        import jax

        from flambeau.engines.xla.calls import forget

        forget()
        jax.clear_caches()
