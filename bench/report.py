"""The figures as a table in the terminal and as the page docs/benchmarks.md."""

from __future__ import annotations

import datetime
import statistics
from pathlib import Path

from bench import recurrent
from bench.footprint import Size
from bench.limits import COPIED
from bench.race import PEERS, ROOT, RUNNERS, Result, spread

PAGE = ROOT / "docs" / "benchmarks.md"

TITLES = {
    "tutorial": "the tutorial's training step",
    "mlp": "MLP 784-128-64-10, batch 64, Adam",
    "cnn": "small CNN, 32 images of 28x28",
    "lstm": "character LSTM, 16 x 64",
    "gpt": "GPT, 4 layers, width 128, 12 x 64",
    "gpt6": "GPT, 6 layers, width 384, 8 x 256",
    "resnet18": "ResNet-18, 32 images of 32x32",
    "chain": "a chain of 2,000 operations",
}
#: What is aimed at: eager against PyTorch eager, the best of flambeau against the best of PyTorch.
TARGETS = {
    "tutorial": (2.0, 8.0),
    "mlp": (1.5, 3.0),
    "cnn": (0.8, 1.0),
    "lstm": (1.0, 1.5),
    "gpt": (1.0, 1.3),
    "gpt6": (0.8, 1.2),
    "resnet18": (0.8, 1.0),
    "chain": (2.0, 5.0),
}


def duration(seconds: float) -> str:
    """Seconds in a unit that reads well."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def mebibytes(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"


def _ratio(ratios: list[float]) -> str:
    low, high = spread(ratios)
    return f"{statistics.median(ratios):.2f}x ({low:.2f} to {high:.2f})"


def speed_rows(results: list[Result]) -> list[list[str]]:
    """A row per workload: the time on each side, and both ratios with their spread and aim."""
    rows = []
    for r in results:
        times = [duration(s) if (s := r.seconds(side)) is not None else "-" for side in RUNNERS]
        eager, best = TARGETS[r.workload]
        ratios = [_ratio(r.ratios(False)), f"{eager:.1f}x", _ratio(r.ratios(True)), f"{best:.1f}x"]
        rows.append([TITLES[r.workload], *times, *ratios])
    return rows


def memory_rows(results: list[Result]) -> list[list[str]]:
    """A row per workload: the peak memory of each side."""
    return [
        [TITLES[r.workload], *(mebibytes(r.peaks[side]) if side in r.peaks else "-" for side in RUNNERS)]
        for r in results
    ]


def limit_rows(results: list[Result], limits: dict) -> list[list[str]]:
    """A row per workload: what a step computes and moves, and the share of the machine's limits that each side reaches
    with that, products first, memory behind it."""
    rows = []
    for r in results:
        shares = []
        for side in RUNNERS:
            s = r.seconds(side)
            if s is None:
                shares.append("-")
                continue
            parts = [r.work[what] / s / limits[what] for what in ("flops", "bytes")]
            shares.append(" / ".join(map(_share, parts)))
        rows.append([TITLES[r.workload], _scaled(r.work["flops"]), _scaled(r.work["bytes"]), *shares])
    return rows


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.1 else f"{part:.1%}" if part >= 0.001 else "<0.1%" if part else "0"


def _scaled(count: float) -> str:
    """A number with the prefix that suits it."""
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {prefix}"
    return f"{count:.3g}"


def op_costs(results: list[Result]) -> str:
    """What a recorded operation of the chain costs on each side, forward and backward, in words."""
    chain = next((r for r in results if r.workload == "chain"), None)
    if chain is None:
        return ""
    costs = [
        f"{name} {s / chain.work['ops'] * 1e6:.2f} µs"
        for name, side in zip(SIDES_HEAD, RUNNERS)
        if (s := chain.seconds(side)) is not None
    ]
    return f"A recorded operation of the chain, forward and backward: {', '.join(costs)}."


def peer_rows(results: list[Result]) -> list[list[str]]:
    """A row per workload that raced with peers: their times, and how many times their speed flambeau reaches."""
    rows = []
    for r in results:
        if not any(side in r.times for side in PEERS):
            continue
        times = [duration(s) if (s := r.seconds(side)) is not None else "-" for side in PEERS]
        ours = r.fastest("flambeau")
        jax = _ratio(r.against("jax", ours)) if "jax" in r.times else "-"
        on_xla = _ratio(r.against("torch", "flambeau-xla")) if "flambeau-xla" in r.times else "-"
        both = "jax" in r.times and "flambeau-xla" in r.times
        same = _ratio(r.against("jax", "flambeau-xla")) if both else "-"
        rows.append([TITLES[r.workload], duration(r.seconds(ours) or 0.0), *times, jax, on_xla, same])
    return rows


SIDES_HEAD = ["PyTorch", "torch.compile", "flambeau", "flambeau.compile"]
SPEED_HEAD = ["workload", *SIDES_HEAD, "eager", "aim", "best", "aim"]
MEMORY_HEAD = ["workload", *SIDES_HEAD]
LIMIT_HEAD = ["workload", "FLOP", "bytes", *SIDES_HEAD]
RECURRENT_HEAD = ["layer", "PyTorch", "flambeau", "flambeau.compile", "eager", "compiled"]
PEER_HEAD = [
    "workload", "flambeau, best", "flambeau on XLA", "JAX", "best over JAX", "on XLA over PyTorch", "on XLA over JAX",
]  # fmt: skip
COST_HEAD = ["", "PyTorch", "flambeau", "share"]


def cost_rows(imports: dict[str, float], sizes: dict[str, Size]) -> list[list[str]]:
    """Rows for import time and installed size."""
    t, f = sizes["torch"], sizes["flambeau"]

    def row(title: str, a: float, b: float, show) -> list[str]:
        return [title, show(a), show(b), f"{b / a:.3f}"]

    return [
        row("import", imports["torch"], imports["flambeau"], duration),
        row("installed, without bytecode", t.source, f.source, mebibytes),
        row("installed, with bytecode", t.total, f.total, mebibytes),
    ]


def _named(results: list[Result], rows: list[list[str]]) -> list[list[str]]:
    """Rows with the short names of workloads."""
    return [[r.workload, *row[1:]] for r, row in zip(results, rows)]


def show(results: list[Result], costs: list[list[str]], machine: dict[str, str], limits: dict) -> None:
    """Print everything to the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim")
    for title, head, rows in (
        ("One training step: how many times PyTorch's speed", SPEED_HEAD, _named(results, speed_rows(results))),
        ("Peak memory", MEMORY_HEAD, _named(results, memory_rows(results))),
        ("Share of the machine's limits: products / memory", LIMIT_HEAD, _named(results, limit_rows(results, limits))),
        ("With JAX, and on XLA's CPU", PEER_HEAD, peer_rows(results)),
        ("Before the first step", COST_HEAD, costs),
    ):
        if rows:
            table = Table(title=title, title_justify="left")
            for number, name in enumerate(head):
                table.add_column(name, justify="left" if number == 0 else "right")
            for r in rows:
                table.add_row(*r)
            console.print(table)
    console.print(op_costs(results))


def markdown(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])


def recurrent_rows(layers: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """A row per recurrent layer: times and both ratios."""
    rows = []
    for name, times in layers.items():
        shown = [duration(statistics.median(times[side])) for side in recurrent.SIDES]
        title = name if name in ("LSTM", "GRU") else f"RNN, {name}"
        rows.append([title, *shown, *(f"{recurrent.ratio(times, side):.2f}x" for side in recurrent.SIDES[1:])])
    return rows


def show_recurrent(layers: dict[str, dict[str, list[float]]]) -> None:
    """Print the recurrent layers."""
    for row in recurrent_rows(layers):
        print("  ".join(f"{cell:>10s}" for cell in row))


#: Pages beside this one, there once they have been written, and what is in them.
_BESIDE = {"scaling": "How step time grows with the size of a model", "growth": "What memory does over many steps"}


def _further() -> str:
    """Where the pages beside this one are."""
    there = [f"{what} is in [{name}.md]({name}.md).\n" for name, what in _BESIDE.items() if _page(name).exists()]
    return "".join(there)


def _page(name: str) -> Path:
    return PAGE.with_name(f"{name}.md")


_PEERS = """
## With JAX, and on XLA's CPU

The same models in plain JAX with optax (`bench/jaxed/`), the whole step under `jax.jit` with donated state; and
flambeau's step under `torch.compile(backend="xla")`, with its tensors on XLA's CPU. They raced in the same rounds.

{table}
"""


def write(
    results: list[Result], costs: list[list[str]], sizes: dict[str, Size], machine: dict[str, str], limits: dict,
    layers: dict[str, dict[str, list[float]]], path: Path = PAGE,
) -> None:  # fmt: skip
    """Write the page."""
    peers = peer_rows(results)
    against = _PEERS.format(table=markdown(PEER_HEAD, peers)) if peers else ""
    text = f"""# Benchmarks

Written by `make bench` on {datetime.date.today().isoformat()}; every run replaces this page.

Machine: {"; ".join(f"{key} {value}" for key, value in machine.items())}.

## One training step

Forward, backward and optimizer, in float32. `bench/workloads/` holds the programs: the same source file runs under
PyTorch and under flambeau, each as it is and with the step given to `torch.compile`, in four processes that take
turns, {len(results[0].times["torch"])} rounds each, after warming up. All use all cores, by their own defaults. A ratio
says how many times PyTorch's speed flambeau reaches: the median of the rounds' ratios, and the middle half of them.
`eager` compares the libraries as they are, `best` the faster of each one's two.

{markdown(SPEED_HEAD, speed_rows(results))}

Peak is the largest resident memory of the process, compilers in other processes not counted.

{markdown(MEMORY_HEAD, memory_rows(results))}

## Share of the machine's limits

The limits, measured in this run: {limits["flops"] / 1e9:.0f} GFLOP/s in the best product of large float32 matrices
({limits["product"]}'s; NumPy's, PyTorch's and flambeau's own were tried), {limits["bytes"] / 1e9:.1f} GB/s read and
written in the best copy of {COPIED >> 20} MiB. A step's FLOP are those of its products (`flambeau.utils.flop_counter`),
the whole of a causal attention's scores included; its bytes are what flambeau's eager kernels read and write, each
operand once per kernel, the optimizer's state included. So the second share is that of a side which makes the same
passes over memory, and a side that merges passes, or finds its operands in cache, may come above 100%.

{markdown(LIMIT_HEAD, limit_rows(results, limits))}

{op_costs(results)}

## Recurrent layers alone

One layer, forward and backward: 32 sequences of 64 steps, width 128.

{markdown(RECURRENT_HEAD, recurrent_rows(layers))}

{_further()}{against}
## Before the first step

{markdown(COST_HEAD, costs)}

Import: the median over new interpreters, in turns, files already in the system's cache. Installed: the sum of the sizes
of the files that the package and everything it requires put on disk ({", ".join(sizes["torch"].distributions)} against
flambeau, {", ".join(sizes["flambeau"].distributions)}), with and without the bytecode that pip compiles.
"""
    path.write_text(text)
