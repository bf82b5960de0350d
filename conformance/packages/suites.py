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
]

SUITES = {suite.name: suite for suite in _ALL}
