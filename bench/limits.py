"""What this machine can do at most, and what a training step asks of it.

``python -m bench.limits`` prints the limits as JSON: floating-point operations per second in the best product of large
float32 matrices (NumPy's, PyTorch's, flambeau's own; all cores), and bytes per second in the best copy of memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.race import ROOT, environment

SIZES = (1024, 2048)
COPIED = 1 << 27  # bytes


def limits() -> dict:
    """The limits, measured in a process of its own: ``flops``, by whose ``product``, and ``bytes``, per second."""
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.limits"],
        capture_output=True, text=True, check=True, env=environment(), cwd=ROOT,
    )  # fmt: skip
    return json.loads(out.stdout)


def _best(work: Callable[[], object], least: float = 0.4) -> float:
    """The shortest of many runs, in seconds."""
    work()
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < least:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def _products() -> dict[str, Callable]:
    """By name: functions of two NumPy matrices and the place of the result."""
    import numpy as np

    from flambeau.engines.native.products import product

    found: dict[str, Callable] = {"NumPy": lambda a, b, out: np.matmul(a, b, out=out)}
    sample = np.ones((64, 64), np.float32)
    if product(sample, sample) is not None:
        found["flambeau"] = lambda a, b, out: product(a, b, out)
    try:
        import torch

        found["PyTorch"] = lambda a, b, out: torch.mm(*map(torch.from_numpy, (a, b)), out=torch.from_numpy(out))
    except ImportError:
        pass
    return found


def _copies() -> list[Callable[[], object]]:
    import numpy as np

    source = np.ones(COPIED // 4, np.float32)
    target = np.empty_like(source)
    cut = len(source) // 2
    pool = ThreadPoolExecutor(2)

    def halves() -> None:
        list(pool.map(lambda s: np.copyto(target[s], source[s]), (slice(0, cut), slice(cut, None))))

    found: list[Callable[[], object]] = [lambda: np.copyto(target, source), halves]
    try:
        import torch

        found.append(lambda: torch.from_numpy(target).copy_(torch.from_numpy(source)))
    except ImportError:
        pass
    return found


def measure() -> dict:
    """The limits, in this process."""
    import numpy as np

    rates = {}
    for name, product in _products().items():
        for n in SIZES:
            a, b = (np.random.default_rng(i).random((n, n), np.float32) for i in (0, 1))
            out = np.empty((n, n), np.float32)
            rates[name] = max(rates.get(name, 0.0), 2 * n**3 / _best(lambda: product(a, b, out)))
    winner = max(rates, key=lambda name: rates[name])
    return {"flops": rates[winner], "product": winner, "bytes": 2 * COPIED / min(map(_best, _copies()))}


# --- what a step asks for -----------------------------------------------------------------------------------------


def work_of(step: Callable) -> dict[str, int]:
    """What one step of flambeau's does: ``flops`` in products, ``bytes`` that its kernels read and write, each operand
    once a kernel, and ``ops`` on the tape."""
    from flambeau.autograd.runtime import NS, watch
    from flambeau.optim.optimizer import register_optimizer_step_post_hook
    from flambeau.utils.flop_counter import Counting, FlopCounterMode, counted

    for _ in range(2):
        loss = step()
    ops = _nodes(loss)
    with FlopCounterMode(display=False) as counter:
        step()
    moved = [0]

    def seen(name: str, args: tuple, result: object) -> None:
        made = _arrays(result)
        given = _arrays(args)
        if any(_is_view(m, given) for m in made):
            return
        moved[0] += sum(a.nbytes for a in (*given, *made))

    def updated(optimizer, args: tuple, kwargs: dict) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = [v for v in optimizer.state[p].values() if isinstance(v, NS["Tensor"]) and v.dim()]
                    moved[0] += p.grad._a.nbytes + 2 * sum(t._a.nbytes for t in (p, *state))

    handle = register_optimizer_step_post_hook(updated)
    # kernels that generated code calls without asking for them by name
    direct = {key: kernel for key, kernel in NS.items() if key.startswith(("KERNEL_", "RULE_KERNEL_"))}
    below = {**direct, "K": NS["K"]}
    NS.update({key: counted(kernel, key, seen) for key, kernel in direct.items()}, K=Counting(seen))
    watch(True)
    try:
        step()
    finally:
        watch(False)
        NS.update(below)
        handle.remove()
    return {"flops": counter.get_total_flops(), "bytes": moved[0], "ops": ops}


def _arrays(x) -> list:
    import numpy as np

    if isinstance(x, np.ndarray):
        return [x]
    return [a for v in x for a in _arrays(v)] if isinstance(x, (tuple, list)) else []


def _is_view(made, given: list) -> bool:
    import numpy as np

    return any(np.may_share_memory(made, a) for a in given)


def _nodes(loss) -> int:
    """The recorded operations behind a loss."""
    from flambeau.autograd.graph import Node

    seen, stack = set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            stack += node.edges
    return len(seen)


if __name__ == "__main__":
    print(json.dumps(measure()))
