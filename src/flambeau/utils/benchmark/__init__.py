"""``torch.utils.benchmark``: how long a statement takes, measured often enough to be told from noise.

>>> import flambeau as torch
>>> from flambeau.utils.benchmark import Timer
>>> measured = Timer("x + 1", globals={"x": torch.ones(8)}).timeit(10)
>>> measured.number_per_run
10
"""

from flambeau.utils.benchmark.compare import Compare
from flambeau.utils.benchmark.measurement import Measurement, TaskSpec, select_unit, trim_sigfig, unit_to_english
from flambeau.utils.benchmark.timer import Timer, timer

__all__ = [
    "Compare",
    "Measurement",
    "TaskSpec",
    "Timer",
    "select_unit",
    "timer",
    "trim_sigfig",
    "unit_to_english",
]
