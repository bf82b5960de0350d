"""A compiled step's plan in words: its kernels in order of their number, what was fused, and memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["table_of"]


def table_of(compiled: Any) -> str:
    """The plans of a compiled function as text."""
    name = getattr(compiled.function, "__qualname__", type(compiled.function).__name__)
    if compiled.refused:
        return f"{name} runs eagerly: {compiled.refused}"
    lines = [f"{name}: {sum(map(len, compiled.plans.values()))} plan(s)"]
    for number, variants in enumerate(compiled.plans.values(), 1):
        for variant in variants:
            lines += _plan(number, variant)
    if compiled.reasons:
        lines.append("new captures, and what had changed:")
        lines += [f"  {reason}" for reason in compiled.reasons[-10:]]
    return "\n".join(lines)


def _plan(number: int, variant: Any) -> list[str]:
    plans = [("step", variant.plan)] + ([("backward", variant.back)] if variant.back is not None else [])
    lines = [f"plan {number}: {variant.entries} captured calls became {sum(len(p.steps) for _, p in plans)} steps"]
    for title, plan in plans:
        lines.append(f"  {title}")
        lines.append(f"    {'kernel':<32} {'calls':>6}")
        lines += [f"    {name:<32} {count:>6}" for name, count in Counter(plan.names).most_common()]
        if plan.fused:
            lines.append(f"    {plan.fused} elementwise calls were fused into {plan.groups} kernels")
    return lines + _memory(variant.arena)


def _memory(arena: Any) -> list[str]:
    """What was planned: the blocks that share memory, and those that stay where they are."""

    def mib(count: int) -> str:
        return f"{count / 2**20:.1f} MiB"

    reused = max(0, arena.bytes - arena.size)
    return [
        f"  memory: peak {mib(arena.size + arena.resident)}",
        f"    planned: {arena.planned} buffers of {mib(arena.bytes)} in {mib(arena.size)}, {mib(reused)} reused",
        f"    in place: {arena.outside} buffers of {mib(arena.resident)} (arguments, results, parameters, state)",
    ]
