"""A training display for the terminal: a progress bar and the loss curve, redrawn while the program trains.

Where standard output is not a terminal it prints a line now and then, and the curve at the end.
"""

import math
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

# A braille character has 2 columns of 4 dots; these are the bits of the dots, from the top.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def curve(values, width=64, height=10, logarithmic=True):
    """Draw ``values`` as lines of braille dots with a scale on the left."""
    if len(values) < 2:
        return ""
    logarithmic = logarithmic and min(values) > 0
    heights = [math.log10(v) if logarithmic else v for v in values]
    low, high = min(heights), max(heights)
    span = (high - low) or 1.0
    cells = [[0] * width for _ in range(height)]
    before = None
    for column in range(2 * width):
        first = column * len(values) // (2 * width)
        part = heights[first : max(first + 1, (column + 1) * len(values) // (2 * width))]
        row = round((high - sum(part) / len(part)) / span * (4 * height - 1))
        start, stop = sorted((row, row if before is None else before))
        for dot in range(start, stop + 1):
            cells[dot // 4][column // 2] |= DOTS[column % 2][dot % 4]
        before = row
    lines = []
    for number, line in enumerate(cells):
        level = high - span * number / (height - 1)
        value = 10**level if logarithmic else level
        label = f"{value:9.3g}" if number in (0, height // 2, height - 1) else " " * 9
        lines.append(f"{label} ┤" + "".join(chr(0x2800 + bits) for bits in line))
    return "\n".join(lines)


class Training:
    """``with Training(steps, "title") as show: ... show(loss)`` once per step."""

    def __init__(self, steps, title):
        self.steps, self.title = steps, title
        self.losses = []
        self.console = Console()
        self.progress = Progress(
            TextColumn("training"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]:.4g}"), console=self.console, expand=True,
        )  # fmt: skip
        self.task = self.progress.add_task("", total=steps, loss=math.nan)
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.drawn = 0.0

    def _picture(self):
        width = max(20, min(100, self.console.width - 16))
        return Panel(Text(curve(self.losses, width)), title=f"{self.title}: loss", border_style="cyan")

    def __enter__(self):
        self.start = time.perf_counter()
        if self.live:
            self.live.start()
        return self

    def __call__(self, loss):
        self.losses.append(float(loss))
        done = len(self.losses)
        self.progress.update(self.task, completed=done, loss=self.losses[-1])
        if self.live:
            if time.perf_counter() - self.drawn > 0.06 or done == self.steps:
                self.live.update(Group(self._picture(), self.progress), refresh=True)
                self.drawn = time.perf_counter()
        elif done == 1 or done % max(1, self.steps // 10) == 0:
            print(f"step {done:5d} of {self.steps}: loss {self.losses[-1]:.5f}")
            sys.stdout.flush()

    def __exit__(self, *error):
        if self.live:
            self.live.stop()
        elif not any(error):
            self.console.print(self._picture())
        if not any(error):
            seconds = time.perf_counter() - self.start
            self.console.print(
                f"{len(self.losses)} steps in {seconds:.1f} s, loss from {self.losses[0]:.4g} to {self.losses[-1]:.4g}"
            )
