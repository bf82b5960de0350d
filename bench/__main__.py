"""Races the workloads, measures import time and installed size, prints a table and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import statistics

from bench import footprint, growth, limits, race, recurrent, report, scale
from bench.workloads import NAMES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, help="race only these; the page is not written then")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds per workload (default 9)")
    parser.add_argument("--turn", type=float, default=0.25, help="seconds of one side's turn (default 0.25)")
    parser.add_argument("--eager", action="store_true", help="leave the compiled sides out")
    parser.add_argument("--no-peers", action="store_true", help="leave JAX, and flambeau on XLA, out")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    parser.add_argument("--scale", action="store_true", help="step time as models grow instead; writes docs/scaling.md")
    parser.add_argument(
        "--growth", type=int, nargs="?", const=2000, metavar="N",
        help="memory that N more steps (default 2000) add to what is resident after 200 instead; writes docs/growth.md",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=growth.PATIENCE, metavar="S",
        help="with --growth: the most seconds that one side's steps may take (default 150)",
    )  # fmt: skip
    parser.add_argument("--recurrent", action="store_true", help="race single recurrent layers instead")
    parser.add_argument("--losses", type=int, metavar="N", help="print the first N losses of both sides instead")
    parser.add_argument("--profile", type=int, metavar="N", help="profile N steps of flambeau instead")
    return parser.parse_args()


def _losses(names: list[str], count: int) -> None:
    for name in names:
        both = race.losses(name, count)
        for number, (t, *ours) in enumerate(zip(*both.values())):
            shown = "  ".join(f"{f:.8g}  {abs(t - f) / max(abs(t), 1e-12):.1e}" for f in ours)
            print(f"{name} {number:3d}  {t:.8g}  {shown}")


def _profile(names: list[str], count: int) -> None:
    for name in names:
        with race.Runner("flambeau", name) as runner:
            runner.seconds(3)
            runner.ask(f"profile {count}")


def main() -> None:
    arguments = _arguments()
    names = arguments.only or NAMES
    if arguments.losses:
        return _losses(names, arguments.losses)
    if arguments.profile:
        return _profile(names, arguments.profile)
    if arguments.growth:
        return growth.run(names, arguments.growth, footprint.machine(), arguments.patience)
    if arguments.scale:
        return scale.run(footprint.machine())
    if arguments.recurrent:
        return report.show_recurrent(recurrent.measure(arguments.rounds, arguments.turn))
    machine, most = footprint.machine(), limits.limits()
    results = []
    for name in names:
        result = race.race(name, arguments.rounds, arguments.turn, not arguments.eager, not arguments.no_peers)
        results.append(result)
        eager, best = (statistics.median(result.ratios(best)) for best in (False, True))
        print(f"{name:9s} eager {eager:5.2f}x, best {best:5.2f}x", flush=True)
    if arguments.only:
        return report.show(results, [], machine, most)
    imports = footprint.import_seconds()
    sizes = {side: footprint.size(side) for side in race.SIDES}
    costs = report.cost_rows(imports, sizes)
    report.show(results, costs, machine, most)
    if not arguments.no_write:
        layers = recurrent.measure(arguments.rounds, arguments.turn)
        report.show_recurrent(layers)
        report.write(results, costs, sizes, machine, most, layers)
        print(f"wrote {report.PAGE.relative_to(race.ROOT)}")
    return None


if __name__ == "__main__":
    main()
