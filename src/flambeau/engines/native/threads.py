"""Threads that run native code without the interpreter: tasks of one call, spread over the cores.

A worker waits for a job, takes its tasks one by one from a shared counter, and waits again: spinning for some
microseconds, then asleep in the kernel (futex). Neither the workers nor the loop that hands out tasks is Python, so a
job of twenty microseconds is worth sharing. The caller works too and returns when every task is done.

The control block (64-byte lines of 8 words): generation; door (1: open); next task; workers inside; sleepers;
then function, table, tasks, size of a task, end. A worker that comes late finds the door closed and leaves; the door
opens only after the job is written, and no job is written while a worker is inside.
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
    NOT_EQUAL,
    NOT_LESS,
    R10,
    R12,
    R13,
    R14,
    RAX,
    RBP,
    RBX,
    RDI,
    RDX,
    RSI,
    Assembler,
    Mem,
)  # fmt: skip
from .machine import LEVEL, for_ever, install

__all__ = ["SHARED", "address_of", "alone", "count", "run", "set_workers", "spread"]

_LINE = 64
_GENERATION, _DOOR, _NEXT, _INSIDE, _SLEEPERS, _JOB = (i * _LINE for i in range(6))
_FUNCTION, _TABLE, _TASKS, _SIZE, _END = (_JOB + 8 * i for i in range(5))
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
    """Runs tasks of the job at rbx until none is left."""
    top, out, cut = asm.name("take"), asm.name("none"), asm.name("cut")
    asm.label(top)
    asm.mov_imm(RAX, 1)
    asm.raw(b"\xf0\x48\x0f\xc1\x83" + _disp(_NEXT))  # lock xadd [rbx + next], rax
    asm.cmp(RAX, Mem(RBX, _TASKS))
    asm.jump(out, NOT_LESS)
    asm.mov(RSI, RAX)
    asm.imul(RSI, Mem(RBX, _SIZE))
    asm.mov(RDX, RSI)
    asm.add(RDX, Mem(RBX, _SIZE))
    asm.cmp(RDX, Mem(RBX, _END))
    asm.jump(cut, 12)  # less
    asm.mov(RDX, Mem(RBX, _END))
    asm.label(cut)
    asm.mov(RDI, Mem(RBX, _TABLE))
    asm.call_memory(Mem(RBX, _FUNCTION))
    asm.jump(top)
    asm.label(out)


def _worker_code() -> bytes:
    """void *worker(control): for ever."""
    asm = Assembler(False)
    for reg in (RBP, RBX, R12, R13, R14):  # an odd number: calls find the stack aligned
        asm.push(reg)
    asm.mov(RBX, RDI)
    asm.mov_imm(R12, 0)
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
    asm.jump(spin, 12)  # less
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
    for reg in (RBP, RBX, R12):
        asm.push(reg)
    asm.mov(RBX, RDI)
    asm.mov_imm(RAX, 0)
    asm.store(Mem(RBX, _NEXT), RAX)
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
    for reg in (R12, RBX, RBP):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


class _Pool:
    """The control block and its workers."""

    def __init__(self) -> None:
        memory = for_ever(ctypes.create_string_buffer(8 * _LINE + _LINE))
        start = ctypes.addressof(memory)
        self.control = -(-start // _LINE) * _LINE
        self.job = (ctypes.c_int64 * 5).from_address(self.control + _JOB)
        self.lock = threading.Lock()
        self.workers = 0

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


def spread(function: int, direct: Callable, table: bytes, end: int, size: int) -> None:
    """Calls the native `f(table, start, stop)` over pieces of `range(end)`, `size` at a time, on all threads.

    `direct` is the same function, callable from Python, for when there is nobody to share with.
    """
    if _wanted > 0 and end > size and SHARED:
        pool = _pool or _start()
        if pool.lock.acquire(False):
            try:
                if pool.workers < _wanted:
                    pool.grow(_wanted)
                job = pool.job
                job[0] = function
                job[1] = address_of(table)
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
