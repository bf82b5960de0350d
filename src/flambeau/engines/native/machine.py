"""The processor, and memory that code can run in.

Native kernels need an x86-64 processor with AVX2 and FMA (AVX-512 where there) and a system whose C calls pass
arguments in rdi, rsi, rdx (Linux, macOS). Elsewhere, with `FLAMBEAU_NATIVE=0`, or where the system forbids new code,
`LEVEL` is 0 and NumPy does all the work. Pages are written first and made executable after: no page is ever both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from typing import Any

__all__ = ["LEVEL", "NONE", "AVX2", "AVX512", "for_ever", "install"]

NONE, AVX2, AVX512 = 0, 2, 3

_PAGE = mmap.PAGESIZE


def _mprotect() -> ctypes._CFuncPtr | None:  # type: ignore[name-defined]
    try:
        libc = ctypes.CDLL(None)
        function = libc.mprotect
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    function.restype = ctypes.c_int
    return function


_protect = _mprotect()


class Code:
    """Machine code in memory of its own, at `address`. The memory goes when nobody holds the object."""

    __slots__ = ("__weakref__", "address", "area")

    def __init__(self, code: bytes) -> None:
        if _protect is None:
            raise OSError("this system has no mprotect")
        size = -(-len(code) // _PAGE) * _PAGE
        area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        area[: len(code)] = code
        self.area, self.address = area, ctypes.addressof(ctypes.c_char.from_buffer(area))
        if _protect(self.address, size, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
            raise OSError("this system forbids code made at run time")


def install(code: bytes) -> int:
    """Puts machine code into memory and returns its address; OSError where the system forbids it.

    The memory lives as long as the process: a kernel is made once.
    """
    return for_ever(Code(code)).address


def for_ever(thing: Any) -> Any:
    """`thing`, which the end of the interpreter does not take away either: workers run on until the process is gone."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


#: void f(int leaf, int subleaf, int out[4]): cpuid; and xgetbv where leaf is -1.
_PROBE = bytes.fromhex(
    "53"  # push rbx
    "4989d0"  # mov r8, rdx
    "89f8"  # mov eax, edi
    "89f1"  # mov ecx, esi
    "83ffff"  # cmp edi, -1
    "7413"  # je +19
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8+4], ebx
    "41894808"  # mov [r8+8], ecx
    "4189500c"  # mov [r8+12], edx
    "eb08"  # jmp +8   (to pop)
    "31c9"  # xor ecx, ecx
    "0f01d0"  # xgetbv
    "418900"  # mov [r8], eax
    "5b"  # pop rbx
    "c3"  # ret
)


def _detect() -> int:
    if os.environ.get("FLAMBEAU_NATIVE", "") == "0" or sys.platform not in ("linux", "darwin"):
        return NONE
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.maxsize < 1 << 32:
        return NONE
    try:
        address = install(_PROBE)
    except (OSError, ValueError):
        return NONE
    probe = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(address)
    out = (ctypes.c_uint32 * 4)()

    def ask(leaf: int, subleaf: int = 0) -> tuple[int, ...]:
        probe(leaf, subleaf, ctypes.addressof(out))
        return tuple(out)

    if ask(0)[0] < 7:
        return NONE
    features = ask(1)[2]
    if not features >> 27 & 1 or not features >> 28 & 1 or not features >> 12 & 1:  # OSXSAVE, AVX, FMA
        return NONE
    state = ask(-1)[0]
    extended = ask(7)[1]
    if state & 0x06 != 0x06 or not extended >> 5 & 1:  # the system keeps 256-bit registers; AVX2
        return NONE
    wanted = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31  # F, DQ, BW, VL
    asked = os.environ.get("FLAMBEAU_NATIVE", "")
    if state & 0xE6 == 0xE6 and extended & wanted == wanted and asked != "avx2":
        return AVX512
    return AVX2


LEVEL: int = _detect()
