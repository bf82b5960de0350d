"""Threads that run native code without the interpreter: tasks of one call, spread over the cores.

A worker waits for a job, takes tasks one by one, and waits again: spinning for some microseconds, then asleep in the
kernel (futex). Neither the workers nor the loop that hands out tasks is Python, so a job of twenty microseconds is
worth sharing. The caller works too and returns when every task is done.

Each thread has a share of the tasks, always the same one, the caller the first: what a core has in its cache from one
job is so what it needs in the next. Who is done with his own share takes from the others'.

The control block (64-byte lines of 8 words): generation; door (1: open); number of the latest worker; workers inside;
sleepers; then function, table, tasks, size of a task, end, shares, end of the last share's line; then a line for each
share: its next task and its end. A worker that comes late finds the door closed and leaves; the door opens only after
the job is written, and no job is written while a worker is inside.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

from . import hooks
from .assembler import (
    EQUAL,
    LESS,
    NOT_EQUAL,
    NOT_LESS,
    R10,
    R12,
    R13,
    R14,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip
from .machine import LEVEL, for_ever, install

__all__ = ["SHARED", "address_of", "alone", "count", "run", "set_workers", "spread"]

_LINE = 64
_GENERATION, _DOOR, _LATEST, _INSIDE, _SLEEPERS, _JOB, _SHARES = (i * _LINE for i in range(7))
_FUNCTION, _TABLE, _TASKS, _SIZE, _END, _COUNT, _STOP = (_JOB + 8 * i for i in range(7))
_MOST = 256  # shares, at most
_YIELD, _FUTEX, _WAIT, _WAKE = 24, 202, 128, 129
#: Ticks of the processor's clock for which an idle worker looks out for the next job: some 400 microseconds, so that it
#: is awake through a step of a small model. Then it sleeps.
_PATIENCE = 1_000_000
#: Looks of the caller at those still at work before it offers them its core.
_SPINS = 600

#: Whether threads of our own can be had: Linux on x86-64.
SHARED = LEVEL > 0 and sys.platform == "linux"

_LOCK_INC, _LOCK_DEC = b"\xf0\x48\xff\x83", b"\xf0\x48\xff\x8b"  # lock inc/dec qword [rbx + disp32]
_PAUSE, _SYSCALL = b"\xf3\x90", b"\x0f\x05"
_CLOCK = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0"  # rdtsc; shl rdx, 32; or rax, rdx


def _disp(offset: int) -> bytes:
    return offset.to_bytes(4, "little")


def _take_tasks(asm: Assembler) -> None:
    """Runs tasks of the job at rbx until none is left, of the share whose line is rbp bytes in, then of others."""
    top, out, cut, other, first = (asm.name(n) for n in ("take", "none", "cut", "other", "first"))
    asm.mov(R13, Mem(RBX, _COUNT))
    asm.lea(R14, Mem(RBX, _SHARES, RBP, 1))
    asm.cmp(R14, Mem(RBX, _STOP))
    asm.jump(first, NOT_LESS)
    asm.label(top)
    asm.mov_imm(RAX, 1)
    asm.raw(b"\xf0\x49\x0f\xc1\x06")  # lock xadd [r14], rax
    asm.cmp(RAX, Mem(R14, 8))
    asm.jump(other, NOT_LESS)
    asm.mov(RSI, RAX)
    asm.imul(RSI, Mem(RBX, _SIZE))
    asm.mov(RDX, RSI)
    asm.add(RDX, Mem(RBX, _SIZE))
    asm.cmp(RDX, Mem(RBX, _END))
    asm.jump(cut, LESS)
    asm.mov(RDX, Mem(RBX, _END))
    asm.label(cut)
    asm.mov(RDI, Mem(RBX, _TABLE))
    asm.call_memory(Mem(RBX, _FUNCTION))
    asm.jump(top)
    asm.label(other)
    asm.add_imm(R13, -1)
    asm.jump(out, EQUAL)
    asm.add_imm(R14, _LINE)
    asm.cmp(R14, Mem(RBX, _STOP))
    asm.jump(top, LESS)
    asm.label(first)
    asm.lea(R14, Mem(RBX, _SHARES))
    asm.jump(top)
    asm.label(out)


def _share_out(asm: Assembler) -> None:
    """Writes each share's line: the job's tasks in order, as many for each as can be."""
    top, end, less = asm.name("share"), asm.name("shared"), asm.name("less")
    asm.mov(RAX, Mem(RBX, _TASKS))
    asm.divide(Mem(RBX, _COUNT))
    asm.mov(RCX, RAX)  # tasks of a share; rdx: shares with one more
    asm.mov_imm(RAX, 0)
    asm.lea(R14, Mem(RBX, _SHARES))
    asm.label(top)
    asm.cmp(R14, Mem(RBX, _STOP))
    asm.jump(end, NOT_LESS)
    asm.store(Mem(R14), RAX)
    asm.add(RAX, RCX)
    asm.cmp_imm(RDX, 0)
    asm.jump(less, EQUAL)
    asm.add_imm(RAX, 1)
    asm.add_imm(RDX, -1)
    asm.label(less)
    asm.store(Mem(R14, 8), RAX)
    asm.add_imm(R14, _LINE)
    asm.jump(top)
    asm.label(end)


def _worker_code() -> bytes:
    """void *worker(control): for ever."""
    asm = Assembler(False)
    for reg in (RBP, RBX, R12, R13, R14):  # an odd number: calls find the stack aligned
        asm.push(reg)
    asm.mov(RBX, RDI)
    asm.mov_imm(R12, 0)
    asm.mov_imm(RBP, 1)
    asm.raw(b"\xf0\x48\x0f\xc1\xab" + _disp(_LATEST))  # lock xadd [rbx + latest], rbp
    asm.add_imm(RBP, 1)
    asm.shift_left(RBP, 6)
    wait, spin, go, leave = (asm.name(n) for n in ("wait", "spin", "go", "leave"))
    asm.label(wait)
    asm.raw(_CLOCK)
    asm.mov(R13, RAX)
    asm.add_imm(R13, _PATIENCE)
    asm.label(spin)
    asm.cmp(R12, Mem(RBX, _GENERATION))
    asm.jump(go, NOT_EQUAL)
    asm.raw(_PAUSE)
    asm.raw(_CLOCK)
    asm.cmp(RAX, R13)
    asm.jump(spin, LESS)
    asm.raw(_LOCK_INC + _disp(_SLEEPERS))
    asm.mov_imm(RAX, _FUTEX)
    asm.lea(RDI, Mem(RBX, _GENERATION))
    asm.mov_imm(RSI, _WAIT)
    asm.mov(RDX, R12)
    asm.mov_imm(R10, 0)
    asm.raw(_SYSCALL)
    asm.raw(_LOCK_DEC + _disp(_SLEEPERS))
    asm.jump(wait)
    asm.label(go)
    asm.mov(R12, Mem(RBX, _GENERATION))
    asm.raw(_LOCK_INC + _disp(_INSIDE))
    asm.cmp_imm(Mem(RBX, _DOOR), 1)
    asm.jump(leave, NOT_EQUAL)
    _take_tasks(asm)
    asm.label(leave)
    asm.raw(_LOCK_DEC + _disp(_INSIDE))
    asm.jump(wait)
    return asm.finish()


def _caller_code() -> bytes:
    """void call(control): hands the job out, works, and waits for those inside."""
    asm = Assembler(False)
    for reg in (RBP, RBX, R12, R13, R14):
        asm.push(reg)
    asm.mov(RBX, RDI)
    asm.mov_imm(RBP, 0)
    _share_out(asm)
    asm.mov_imm(RAX, 1)
    asm.store(Mem(RBX, _DOOR), RAX)
    asm.raw(_LOCK_INC + _disp(_GENERATION))
    awake, wait, done = asm.name("awake"), asm.name("wait"), asm.name("done")
    asm.cmp_imm(Mem(RBX, _SLEEPERS), 0)
    asm.jump(awake, EQUAL)
    asm.mov_imm(RAX, _FUTEX)
    asm.lea(RDI, Mem(RBX, _GENERATION))
    asm.mov_imm(RSI, _WAKE)
    asm.mov_imm(RDX, 1 << 30)
    asm.mov_imm(R10, 0)
    asm.raw(_SYSCALL)
    asm.label(awake)
    _take_tasks(asm)
    asm.mov_imm(RAX, 0)
    asm.raw(b"\x48\x87\x83" + _disp(_DOOR))  # xchg [rbx + door], rax: a full fence
    asm.mov_imm(R12, _SPINS)
    asm.label(wait)
    asm.cmp_imm(Mem(RBX, _INSIDE), 0)
    asm.jump(done, EQUAL)
    asm.raw(_PAUSE)
    asm.add_imm(R12, -1)
    asm.jump(wait, NOT_EQUAL)
    asm.mov_imm(RAX, _YIELD)  # a worker that lost its core gets a chance to take this one
    asm.raw(_SYSCALL)
    asm.mov_imm(R12, 20)
    asm.jump(wait)
    asm.label(done)
    for reg in (R14, R13, R12, RBX, RBP):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


class _Pool:
    """The control block and its workers."""

    def __init__(self) -> None:
        memory = for_ever(ctypes.create_string_buffer(_SHARES + (_MOST + 1) * _LINE))
        start = ctypes.addressof(memory)
        self.control = -(-start // _LINE) * _LINE
        self.job = (ctypes.c_int64 * 7).from_address(self.control + _JOB)
        self.lock = threading.Lock()
        self.workers = self.shares = 0

    def share(self, count: int) -> None:
        """Jobs have so many shares from now on; held by the lock."""
        self.shares = count
        self.job[5] = min(count, _MOST)
        self.job[6] = self.control + _SHARES + self.job[5] * _LINE

    def grow(self, workers: int) -> None:
        """Starts workers; signals stay with the interpreter's own threads."""
        create = _pthread_create()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while self.workers < workers:
                handle = ctypes.c_void_p()
                if create(ctypes.byref(handle), None, _worker, self.control) != 0:
                    break
                self.workers += 1
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pthread_create() -> Callable:
    function = ctypes.CDLL(None).pthread_create
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return function


#: Called when the number of threads changes.
ON_CHANGE: list[Callable[[], None]] = []

_pool: _Pool | None = None
_wanted = 0
_worker = 0
_call: Callable = print


def set_workers(threads: int) -> None:
    """Jobs are shared by so many threads, the caller's included."""
    global _wanted
    _wanted = threads - 1
    for changed in ON_CHANGE:
        changed()


def _start() -> _Pool:
    global _pool, _worker, _call
    if not _worker:
        _worker = install(_worker_code())
        _call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(install(_caller_code()))
    _pool = _Pool()
    return _pool


def count() -> int:
    """How many threads share a job."""
    return _wanted + 1


def alone() -> bool:
    """Whether there is nobody to share with."""
    return _wanted == 0 or not SHARED


def run(function: int, direct: Callable, table: bytes, end: int, size: int) -> None:
    """`spread`, with word to a capture: every native call but those of `records` goes this way."""
    if hooks.capture is not None:
        hooks.capture.native("run", function, table, end, size)
    spread(function, direct, table, end, size)


def spread(function: int, direct: Callable, table: bytes | int, end: int, size: int) -> None:
    """Calls the native `f(table, start, stop)` over pieces of `range(end)`, `size` at a time, on all threads.

    `direct` is the same function, callable from Python, for when there is nobody to share with. A table may be given
    by its address, if `direct` takes that.
    """
    if _wanted > 0 and end > size and SHARED:
        pool = _pool or _start()
        if pool.lock.acquire(False):
            try:
                if pool.shares != _wanted + 1:
                    pool.grow(_wanted)
                    pool.share(_wanted + 1)
                job = pool.job
                job[0] = function
                job[1] = table if table.__class__ is int else address_of(table)  # type: ignore[arg-type]
                job[2] = -(-end // size)
                job[3] = size
                job[4] = end
                _call(pool.control)
            finally:
                pool.lock.release()
            return
    direct(table, 0, end)


_header = bytes.__basicsize__ - 1


def address_of(table: bytes) -> int:
    """Where the bytes of a bytes object lie."""
    return id(table) + _header


def _after_fork() -> None:
    global _pool
    _pool = None  # the child has none of the workers


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
