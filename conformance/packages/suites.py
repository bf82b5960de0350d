"""The packages: which release, where its archive has its tests, and what must be left out and why."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """How the suite of one package is run.

    `tests` are paths in the source archive, `options` go to pytest, `needs` are other packages that the tests import,
    `every` takes every nth test of a suite that would run for hours, `remark` goes into the table.
    """

    name: str
    version: str
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    every: int = 1
    remark: str = ""

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}"


_ALL = [
    Suite("einops", "0.8.2", ("einops/tests",), variables={"EINOPS_TEST_BACKENDS": "numpy,torch"}),
    Suite("torchinfo", "1.6.0", ("tests",), ("-k", "not eval_order_doesnt_matter"), needs=("torchvision",)),
    Suite("pytorch_warmup", "0.2.0", ("test",)),
    Suite("ema-pytorch", "0.8.3", ("tests",)),
    Suite("unfoldNd", "0.2.3", ("test",)),
    Suite("normflows", "1.7.3", ("normflows",), ("-o", "python_files=*_test.py")),
    Suite("vit-pytorch", "1.26.11", ("tests",)),
    Suite("schedulefree", "1.4.1", ("schedulefree",)),
    Suite("torch-pruning", "1.6.1", ("tests",)),
    Suite("pytorch_optimizer", "4.1.0", ("tests",), every=10),
    Suite("torch-optimizer", "0.3.0", ("tests",), every=2),
    Suite("tensorly", "0.10.0", ("tensorly",), variables={"TENSORLY_BACKEND": "pytorch"}, every=3),
    Suite("backpack-for-pytorch", "1.7.1", ("test",), needs=("einops",), every=10),
    Suite(
        "nflows",
        "0.14",
        ("tests",),
        ("-o", "python_files=*_test.py"),
        needs=("torchtestcase",),
        remark="draws numbers without a seed: which tests pass changes a little from run to run",
    ),
    Suite("torchsde", "0.2.6", ("tests",), every=10),
    Suite("linear-operator", "0.6.1", ("test",), every=10),
    Suite(
        "gpytorch",
        "1.15.2",
        ("test",),
        needs=("scikit-learn",),
        every=10,
        remark="the two asked for `Tensor._cdata`, which is there since",
    ),
    Suite("skorch", "1.4.0", ("skorch/tests",), needs=("pandas", "flaky", "matplotlib"), every=10),
    Suite(
        "e3nn",
        "0.6.0",
        ("tests",),
        needs=("scipy",),
        every=5,
        remark="two of the four have since been mended; `torch.jit.trace` of modules with several inputs and checked "
        "shapes remains",
    ),
    Suite("timm", "1.0.31", ("tests",), every=40),
    Suite("pytorch-ignite", "0.5.5", ("tests/ignite",), needs=("pytest-mock", "scikit-learn", "pandas"), every=20),
]

SUITES = {suite.name: suite for suite in _ALL}
