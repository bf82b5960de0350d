"""What a kernel computes, as values: numbers of a vector's lanes, made of loads, constants and arithmetic.

`Values` makes them; equal ones are made once. Functions that the processor lacks (exp, log, tanh, erf) are polynomials
here, accurate to an ulp or two over their whole range, infinities, NaNs and subnormals included.
"""

from __future__ import annotations

import math
import struct
from typing import Any

__all__ = ["Value", "Values"]

#: exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2)/2; log(m) = 2s(1 + s^2 P(s^2)) with s = (m-1)/(m+1); below one
#: erf(x) = x(1 + P(x^2)), above erfc(t) = exp(-t P(t)). Fitted by ourselves, weighted for relative error (float32).
_EXP = (0.5, 0.1666666716337204, 0.04166635498404503, 0.008333273231983185, 0.001394095947034657,
        0.00019914125732611865)  # fmt: skip
_LOG = (0.3333333432674408, 0.2000006139278412, 0.14275361597537994, 0.11666382849216461)
_ERF = (0.12837916612625122, -0.3761262595653534, 0.11283600330352783, -0.026854444295167923, 0.005189535673707724,
        -0.0008020842215046287, 7.889122935011983e-05)  # fmt: skip
_ERFC = (1.1285209655761719, 0.635769784450531, 0.1049787625670433, -0.022371476516127586, 0.002741200150921941,
         1.9480688933981583e-05, -5.926295489189215e-05, 6.071149527997477e-06)  # fmt: skip
_EXP_DOUBLE = tuple(1 / math.factorial(k) for k in range(2, 15))
_LOG_DOUBLE = tuple(1 / (2 * k + 1) for k in range(1, 13))


class Value:
    """One value: what makes it (`op`), of which others, and a number that belongs to the instruction."""

    __slots__ = ("args", "imm", "index", "level", "op", "owner")

    def __init__(self, owner: Values, op: str, args: tuple[Value, ...], imm: Any, level: int, index: int) -> None:
        self.owner, self.op, self.args, self.imm, self.level, self.index = owner, op, args, imm, level, index

    def __add__(self, other: Any) -> Value:
        return self.owner.add(self, other)

    def __radd__(self, other: Any) -> Value:
        return self.owner.add(other, self)

    def __sub__(self, other: Any) -> Value:
        return self.owner.sub(self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.owner.sub(other, self)

    def __mul__(self, other: Any) -> Value:
        return self.owner.mul(self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.owner.mul(other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.owner.div(self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.owner.div(other, self)

    def __neg__(self) -> Value:
        return self.owner.neg(self)


class Values:
    """Makes values of one type of lanes: float32, or float64 if `double`."""

    def __init__(self, double: bool = False) -> None:
        self.double = double
        self.made: dict[tuple, Value] = {}
        self.order: list[Value] = []

    def make(self, op: str, *args: Any, imm: Any = None, level: int = 0) -> Value:
        """The value of `op` on `args` (numbers are constants); the one there is, if there is one."""
        operands = tuple(a if isinstance(a, Value) else self.const(a) for a in args)
        key = (op, tuple(a.index for a in operands), imm)
        found = self.made.get(key)
        if found is None:
            level = max([level, *(a.level for a in operands)])
            found = self.made[key] = Value(self, op, operands, imm, level, len(self.order))
            self.order.append(found)
        return found

    # --- constants --------------------------------------------------------------------------------------------

    def const(self, number: float) -> Value:
        return self.make("const", imm=struct.pack("<d" if self.double else "<f", _finite(number, self.double)))

    def bits(self, pattern: int) -> Value:
        """A constant given by its bits."""
        return self.make("const", imm=pattern.to_bytes(8 if self.double else 4, "little"))

    # --- arithmetic -------------------------------------------------------------------------------------------

    def add(self, a: Any, b: Any) -> Value:
        return self.make("add", a, b)

    def sub(self, a: Any, b: Any) -> Value:
        return self.make("sub", a, b)

    def mul(self, a: Any, b: Any) -> Value:
        return self.make("mul", a, b)

    def div(self, a: Any, b: Any) -> Value:
        return self.make("div", a, b)

    def root_over(self, root: Value, by: Value) -> Value:
        """`root / by`, rounded as division rounds, for a square root and one number for all lanes, 2^-20 to 1.

        Products are several times as quick: the one by the reciprocal in two parts is a neighbour of the quotient, and
        what that leaves over, exact as a fused product, tells which (Markstein, "Computation of elementary functions on
        the IBM RISC System/6000 processor", 1990). No root is so small or large that a product leaves the range.
        """
        reciprocal = self.div(1.0, by)
        beyond = self.mul(self.fnma(by, reciprocal, 1.0), reciprocal)
        near = self.fma(root, reciprocal, self.mul(root, beyond))
        exact = self.fma(self.fnma(near, by, root), reciprocal, near)
        return self.maximum(exact, root)  # infinity is NaN by now; no other quotient is below its root

    def fma(self, a: Any, b: Any, c: Any) -> Value:
        """a * b + c, rounded once."""
        return self.make("fma", a, b, c)

    def fnma(self, a: Any, b: Any, c: Any) -> Value:
        """c - a * b, rounded once."""
        return self.make("fnma", a, b, c)

    def minimum(self, a: Any, b: Any) -> Value:
        """The processor's minimum: `b` where either is NaN."""
        return self.make("min", a, b)

    def maximum(self, a: Any, b: Any) -> Value:
        """The processor's maximum: `b` where either is NaN."""
        return self.make("max", a, b)

    def sqrt(self, a: Any) -> Value:
        return self.make("sqrt", a)

    def _sign_bit(self) -> Value:
        return self.bits(1 << (63 if self.double else 31))

    def neg(self, a: Any) -> Value:
        return self.make("xor", a, self._sign_bit())

    def abs(self, a: Any) -> Value:
        return self.make("and", a, self.bits((1 << (63 if self.double else 31)) - 1))

    def copysign(self, size: Any, sign: Any) -> Value:
        """A value that is not negative, with the sign of another."""
        return self.make("or", size, self.make("and", sign, self._sign_bit()))

    def round(self, a: Any) -> Value:
        """To the nearest integer, ties to even."""
        return self.make("round", a, imm=8)

    def floor(self, a: Any) -> Value:
        return self.make("round", a, imm=9)

    def ceil(self, a: Any) -> Value:
        return self.make("round", a, imm=10)

    def trunc(self, a: Any) -> Value:
        return self.make("round", a, imm=11)

    def compare(self, how: str, a: Any, b: Any) -> Value:
        """A mask: lanes where the comparison holds (never with NaN, except `ne`)."""
        predicate = {"eq": 0x00, "lt": 0x11, "le": 0x12, "ne": 0x04, "ge": 0x1D, "gt": 0x1E}[how]
        return self.make("cmp", a, b, imm=predicate)

    def select(self, mask: Value, a: Any, b: Any) -> Value:
        """`a` where the mask is set, else `b`."""
        return self.make("select", mask, a, b)

    def both(self, a: Value, b: Value) -> Value:
        return self.make("mand", a, b)

    def either(self, a: Value, b: Value) -> Value:
        return self.make("mor", a, b)

    def negate(self, a: Value) -> Value:
        """A mask's opposite."""
        return self.make("mnot", a)

    def poly(self, x: Any, coefficients: tuple[float, ...]) -> Value:
        """The polynomial with these coefficients, lowest first, by Horner's rule."""
        result = self.const(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, c)
        return result

    # --- functions --------------------------------------------------------------------------------------------

    def _halves(self, x: Any) -> tuple[Value, Value, Value]:
        """n, r and P with x = n ln 2 + r and exp(r) = 1 + P."""
        double = self.double
        n = self.round(self.mul(x, 1 / math.log(2)))
        high = 0.693145751953125 if not double else 6.93147180369123816490e-01
        low = math.log(2) - high if not double else 1.90821492927058770002e-10
        r = self.fnma(n, low, self.fnma(n, high, x))
        p = self.fma(self.mul(r, r), self.poly(r, _EXP_DOUBLE if double else _EXP), r)
        return n, r, p

    def _power_of_two(self, n: Any) -> Value:
        """2^n for integers n within the range of normal exponents."""
        bits, bias = (52, 1023) if self.double else (23, 127)
        magic = 1.5 * 2.0**bits + bias
        return self.make("shl", self.add(n, magic), imm=bits)

    def exp(self, x: Any) -> Value:
        """exp; 0 and infinity beyond the range, subnormals between."""
        low, high = (-746.0, 710.0) if self.double else (-104.0, 89.0)
        x = self.minimum(high, self.maximum(low, x))  # in this order a NaN stays
        n, _, p = self._halves(x)
        half = self.round(self.mul(n, 0.5))
        result = self.mul(self.add(p, 1.0), self._power_of_two(half))
        return self.mul(result, self._power_of_two(self.sub(n, half)))

    def _exp_of_negative(self, x: Any) -> Value:
        """exp for x <= 0 where tiny results may be flushed: half the work of scaling."""
        x = self.maximum(-708.0 if self.double else -87.3, x)
        n, _, p = self._halves(x)
        return self.mul(self.add(p, 1.0), self._power_of_two(n))

    def expm1(self, x: Any) -> Value:
        """exp(x) - 1 without loss near zero."""
        low, high = (-40.0, 710.0) if self.double else (-18.0, 89.0)
        given = x
        x = self.minimum(high, self.maximum(low, x))
        n, _, p = self._halves(x)
        # 2^n may overflow where the result does not: the last doubling comes after the sum
        scale = self._power_of_two(self.sub(n, 1.0))
        half = self.fma(scale, p, self.sub(scale, 0.5))
        return self._tiny_as_it_is(given, self.add(half, half))

    def _tiny_as_it_is(self, x: Any, result: Value) -> Value:
        """A function that is the identity at zero, where adding and halving would lose a zero's sign and the smallest
        numbers."""
        return self.select(self.compare("lt", self.abs(x), 2.0**-54 if self.double else 2.0**-25), x, result)

    def tanh(self, x: Any) -> Value:
        size = self.minimum(20.0 if self.double else 9.1, self.abs(x))
        n, _, p = self._halves(self.add(size, size))
        scale = self._power_of_two(n)
        less = self.fma(scale, p, self.sub(scale, 1.0))  # exp(2 size) - 1
        return self.copysign(self.div(less, self.add(less, 2.0)), x)

    def sigmoid(self, x: Any) -> Value:
        return self.div(1.0, self.add(1.0, self.exp(self.neg(x))))

    def log(self, x: Any) -> Value:
        double = self.double
        tiny, up, scaled = (2.0**-1022, 2.0**54, 54.0) if double else (2.0**-126, 2.0**25, 25.0)
        small = self.compare("lt", x, tiny)
        y = self.select(small, self.mul(x, up), x)
        bits, bias = (52, 1023) if double else (23, 127)
        whole = self.bits(0x4330000000000000 if double else 0x4B000000)
        exponent = self.sub(self.make("or", self.make("shr", y, imm=bits), whole), 2.0**bits + bias)
        one = self.bits(0x3FF0000000000000 if double else 0x3F800000)
        m = self.make("or", self.make("and", y, self.bits((1 << bits) - 1)), one)
        large = self.compare("gt", m, math.sqrt(2))
        m = self.select(large, self.mul(m, 0.5), m)
        exponent = self.select(large, self.add(exponent, 1.0), exponent)
        exponent = self.select(small, self.sub(exponent, scaled), exponent)
        f = self.sub(m, 1.0)
        s = self.div(f, self.add(m, 1.0))
        z = self.mul(s, s)
        p = self.mul(z, self.poly(z, _LOG_DOUBLE if double else _LOG))
        # 2s = f - f s, so the large part of the result is exact
        high = 0.693145751953125 if not double else 6.93147180369123816490e-01
        low = math.log(2) - high if not double else 1.90821492927058770002e-10
        tail = self.fma(exponent, low, self.mul(s, self.sub(self.add(p, p), f)))
        result = self.fma(exponent, high, self.add(f, tail))
        result = self.select(self.compare("eq", x, math.inf), x, result)
        result = self.select(self.compare("eq", x, 0.0), -math.inf, result)
        # a NaN is none of: above, zero
        return self.select(self.compare("ge", x, 0.0), result, math.nan)

    def log1p(self, x: Any) -> Value:
        u = self.add(1.0, x)
        result = self.add(self.log(u), self.div(self.sub(x, self.sub(u, 1.0)), u))
        result = self.select(self.compare("eq", u, math.inf), u, result)
        result = self.select(self.compare("eq", u, 0.0), -math.inf, result)
        return self._tiny_as_it_is(x, result)

    def erf(self, x: Any) -> Value:
        """erf, for float32."""
        size = self.abs(x)
        square = self.mul(x, x)
        near = self.fma(x, self.poly(square, _ERF), x)
        t = self.minimum(4.0, size)
        far = self.sub(1.0, self._exp_of_negative(self.neg(self.mul(t, self.poly(t, _ERFC)))))
        far = self.copysign(far, x)
        result = self.select(self.compare("lt", size, 0.9), near, far)
        return self.select(self.compare("eq", x, x), result, x)


def _finite(number: float, double: bool) -> float:
    """The number, or infinity where float32 has none so large."""
    number = float(number)
    if not double and math.isfinite(number) and abs(number) > 3.4028235677973366e38:
        return math.copysign(math.inf, number)
    return number
