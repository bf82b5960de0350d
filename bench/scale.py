"""Step time as models grow: a GPT and an MLP, in width, depth, batch and sequence length, on log-log scales.

Writes docs/scaling.md, and docs/scaling.svg where matplotlib is installed.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, field

from bench import report
from bench.race import ROOT, Runner

PAGE = ROOT / "docs" / "scaling.md"
DRAWING = ROOT / "docs" / "scaling.svg"
SIDES = {"torch": "PyTorch", "flambeau": "flambeau", "flambeau-compiled": "flambeau.compile"}
BASES = {
    "gpt": {"width": 128, "depth": 2, "batch": 4, "length": 64},
    "mlp": {"width": 256, "depth": 3, "batch": 64, "length": 1},
}
GROWS = {
    ("gpt", "width"): (64, 128, 256, 512),
    ("gpt", "depth"): (1, 2, 4, 8),
    ("gpt", "batch"): (1, 2, 4, 8, 16),
    ("gpt", "length"): (32, 64, 128, 256, 512),
    ("mlp", "width"): (32, 128, 512, 1024, 2048),
    ("mlp", "depth"): (1, 2, 4, 8, 16),
    ("mlp", "batch"): (8, 32, 128, 512, 2048),
}
ROUNDS, TURN = 5, 0.12


@dataclass
class Curve:
    """Seconds per step of each side, the least of all rounds, as one size of a family grows."""

    family: str
    what: str
    sizes: tuple[int, ...]
    times: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})

    def slope(self, side: str, last: int = 0) -> float:
        """The slope of log time over log size, by least squares; of the `last` points alone, if given."""
        x = [math.log(s) for s in self.sizes[-last:]]
        y = [math.log(t) for t in self.times[side][-last:]]
        mean = sum(x) / len(x)
        return sum((a - mean) * b for a, b in zip(x, y)) / sum((a - mean) ** 2 for a in x)


def measure() -> list[Curve]:
    """All curves; the sides take turns at each size."""
    curves = []
    runners = {side: Runner(side, "scaled") for side in SIDES}
    try:
        for (family, what), sizes in GROWS.items():
            curve = Curve(family, what, sizes)
            for size in sizes:
                _point(runners, curve, {**BASES[family], what: size})
            curves.append(curve)
            shown = ", ".join(f"{name} {curve.slope(side):.2f}" for side, name in SIDES.items())
            print(f"{family} {what}: slopes {shown}", flush=True)
    finally:
        for runner in runners.values():
            runner.close()
    return curves


def _point(runners: dict[str, Runner], curve: Curve, sizes: dict[str, int]) -> None:
    wanted = " ".join(f"{name}={size}" for name, size in {"family": curve.family, **sizes}.items())
    counts = {}
    for side, runner in runners.items():
        runner.ask(f"build {wanted}")
        runner.seconds(4)
        counts[side] = max(1, min(500, int(TURN / (runner.seconds(2) / 2))))
    best = dict.fromkeys(runners, math.inf)
    for number in range(ROUNDS):
        for side in runners if number % 2 else reversed(runners):
            best[side] = min(best[side], runners[side].seconds(counts[side]) / counts[side])
    for side, seconds in best.items():
        curve.times[side].append(seconds)


def draw(curves: list[Curve]) -> bool:
    """Draw the curves; False where there is no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    from matplotlib import pyplot

    colors = dict(zip(SIDES, ("#888888", "#d95f02", "#7b3294")))
    pyplot.rcParams.update({"font.size": 8, "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(2, 4, figsize=(11, 5.2), layout="constrained")
    for curve, place in zip(curves, axes.flat):
        for side, name in SIDES.items():
            label = f"{name}: {curve.slope(side):.2f}"
            place.loglog(
                curve.sizes, [t * 1e3 for t in curve.times[side]], "o-", ms=3, lw=1.2, color=colors[side], label=label
            )
        place.set_title(f"{curve.family.upper()}, {curve.what}")
        place.set_xticks(curve.sizes, [str(s) for s in curve.sizes])
        place.minorticks_off()
        place.legend(frameon=False, fontsize=7)
        place.set_ylabel("ms per step")
    for place in list(axes.flat)[len(curves) :]:
        place.set_axis_off()
    figure.savefig(DRAWING, metadata={"Date": None})
    return True


def table(curves: list[Curve]) -> str:
    """Slopes, of all sizes and of the last three, and times at both ends."""
    head = ["family", "grows", "sizes", *(f"{n}: slope" for n in SIDES.values()), *(f"{n}: ms" for n in SIDES.values())]
    rows = []
    for c in curves:
        slopes = [f"{c.slope(side):.2f} ({c.slope(side, 3):.2f})" for side in SIDES]
        ends = [f"{c.times[side][0] * 1e3:.3g} to {c.times[side][-1] * 1e3:.3g}" for side in SIDES]
        rows.append([c.family.upper(), c.what, f"{c.sizes[0]} to {c.sizes[-1]}", *slopes, *ends])
    return report.markdown(head, rows)


def run(machine: dict[str, str]) -> None:
    """Measure, draw, and write the page."""
    curves = measure()
    drawn = draw(curves)
    bases = "; ".join(
        f"{family.upper()}: " + ", ".join(f"{k} {v}" for k, v in sizes.items() if (family, k) in GROWS)
        for family, sizes in BASES.items()
    )
    picture = f"![step time over size]({DRAWING.name})" if drawn else "(The drawing needs matplotlib.)"
    PAGE.write_text(f"""# Step time as models grow

Written by `python -m bench --scale` on {datetime.date.today().isoformat()}; every run replaces this page.

Machine: {"; ".join(f"{key} {value}" for key, value in machine.items())}.

One training step (forward, backward, optimizer; float32) of two families, each grown in one direction from a base
({bases}).
Each time is the least of {ROUNDS} turns in which PyTorch, flambeau and flambeau compiled alternate. A slope is that of
log time over log size, fitted by least squares to all sizes, and in brackets to the last three. Work grows with the
square of the width and in proportion to depth and batch; in the sequence's length between proportion and square. A
slope below that is what a step costs whatever its size, which large models no longer feel.

{picture}

{table(curves)}
""")
    print(f"wrote {PAGE.relative_to(ROOT)}")
