"""Threads that run native code without the interpreter: tasks of one call, spread over the cores.

A worker waits for a job, takes tasks one by one, and waits again: spinning for some microseconds, then asleep in the
kernel (futex). Neither the workers nor the loop that hands out tasks is Python, so a job of twenty microseconds is
worth sharing. The caller works too and returns when every task is done.

Each thread has a share of the tasks, always the same one, the caller the first: what a core has in its cache from one
job is so what it needs in the next. Who is done with his own share takes from the others'.

The control block (64-byte lines of 8 words): generation; door (1: open); number of the latest worker; workers inside;
sleepers; then the job: function, table, tasks, size of a task, end; and shares, end of the last share's line; then a
line for each share: its next task and its end. A worker that comes late finds the door closed and leaves; the door
opens only after the job is written, and no job is written while a worker is inside.

The caller takes a list of jobs, so that from one to the next there is no Python; one without tasks he does alone.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import struct
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
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Assembler,
    Mem,
)  # fmt: skip
from .machine import LEVEL, for_ever, install

__all__ = [
    "JOB", "SHARED", "address_of", "alone", "alone_function", "count", "run", "run_jobs", "set_workers", "spread",
]  # fmt: skip

_LINE = 64
_GENERATION, _DOOR, _LATEST, _INSIDE, _SLEEPERS, _JOB, _SHARES = (i * _LINE for i in range(7))
_FUNCTION, _TABLE, _TASKS, _SIZE, _END, _COUNT, _STOP = (_JOB + 8 * i for i in range(7))
#: A job: function, table, tasks (0: the caller does it alone), size of a task, end.
JOB = struct.Struct("<5q")
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


_SAVED = (RBP, RBX, R12, R13, R14, R15)


def _begin(asm: Assembler) -> tuple[str, str]:
    """The start of a function (control, jobs, stop), looping over jobs: rbx is the control block, r15 the job."""
    for reg in (*_SAVED, RDX):  # an odd number: calls find the stack aligned
        asm.push(reg)
    asm.mov(RBX, RDI)
    asm.mov(R15, RSI)
    top, out = asm.name("job"), asm.name("over")
    asm.label(top)
    asm.cmp(R15, Mem(RSP))
    asm.jump(out, NOT_LESS)
    return top, out


def _end(asm: Assembler, top: str, out: str) -> bytes:
    """The end of what `_begin` began: on to the next job."""
    asm.add_imm(R15, JOB.size)
    asm.jump(top)
    asm.label(out)
    asm.add_imm(RSP, 8)
    for reg in reversed(_SAVED):
        asm.pop(reg)
    asm.ret()
    return asm.finish()


def _do_alone(asm: Assembler) -> None:
    """Does the job at r15 on this thread."""
    asm.mov(RDI, Mem(R15, 8))
    asm.mov_imm(RSI, 0)
    asm.mov(RDX, Mem(R15, 32))
    asm.call_memory(Mem(R15))


def _alone_code() -> bytes:
    """void alone(any, jobs, stop): does the jobs without others."""
    asm = Assembler(False)
    top, out = _begin(asm)
    _do_alone(asm)
    return _end(asm, top, out)


def _caller_code() -> bytes:
    """void call(control, jobs, stop): hands each job out, works, and waits for those inside."""
    asm = Assembler(False)
    top, out = _begin(asm)
    shared, awake, wait, done = (asm.name(n) for n in ("shared", "awake", "wait", "done"))
    asm.cmp_imm(Mem(R15, _TASKS - _JOB), 0)
    asm.jump(shared, NOT_EQUAL)
    _do_alone(asm)
    asm.jump(done)
    asm.label(shared)
    for word in range(0, JOB.size, 8):
        asm.mov(RAX, Mem(R15, word))
        asm.store(Mem(RBX, _JOB + word), RAX)
    asm.mov_imm(RBP, 0)
    _share_out(asm)
    asm.mov_imm(RAX, 1)
    asm.store(Mem(RBX, _DOOR), RAX)
    asm.raw(_LOCK_INC + _disp(_GENERATION))
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
    return _end(asm, top, out)


class _Pool:
    """The control block and its workers."""

    def __init__(self) -> None:
        memory = for_ever(ctypes.create_string_buffer(_SHARES + (_MOST + 1) * _LINE))
        start = ctypes.addressof(memory)
        self.control = -(-start // _LINE) * _LINE
        self.sharing = (ctypes.c_int64 * 2).from_address(self.control + _COUNT)
        self.lock = threading.Lock()
        self.workers = self.shares = 0

    def share(self, count: int) -> None:
        """Jobs have so many shares from now on; held by the lock."""
        self.shares = count
        count = min(count, _MOST)
        self.sharing[0] = count
        self.sharing[1] = self.control + _SHARES + count * _LINE

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


def _function(code: bytes) -> Callable:
    return ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(install(code))


def _start() -> _Pool:
    global _pool, _worker, _call
    if not _worker:
        _worker = install(_worker_code())
        _call = _function(_caller_code())
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
    if end > size:
        at = table if table.__class__ is int else address_of(table)  # type: ignore[arg-type]
        job = JOB.pack(function, at, -(-end // size), size, end)
        if _shared(address_of(job), JOB.size):
            return
    direct(table, 0, end)


def run_jobs(start: int, size: int) -> None:
    """Does the jobs that lie in memory there, `size` bytes of them, one after the other, each on all threads."""
    if not _shared(start, size):
        alone_function()(0, start, start + size)


@functools.cache
def alone_function() -> Callable[[int, int, int], None]:
    """What does jobs without others: any number, where they lie in memory, where they end."""
    return _function(_alone_code())


def _shared(start: int, size: int) -> bool:
    """Does jobs together with the workers, if there are any and nobody else has them."""
    if alone():
        return False
    pool = _pool or _start()
    if not pool.lock.acquire(False):
        return False
    try:
        if pool.shares != _wanted + 1:
            pool.grow(_wanted)
            pool.share(_wanted + 1)
        _call(pool.control, start, start + size)
    finally:
        pool.lock.release()
    return True


_header = bytes.__basicsize__ - 1


def address_of(table: bytes) -> int:
    """Where the bytes of a bytes object lie."""
    return id(table) + _header


def _after_fork() -> None:
    global _pool
    _pool = None  # the child has none of the workers


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
