"""The numbers of a rule as a function of its hyperparameters: the same again, under the same conditions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.optim.scalars import numbers_of

NUMBERS = st.floats(0.01, 0.99)


def adamish(lr, beta, decay, maximize, step):
    numbers = [1.0 - lr * decay] if decay else []
    if maximize:
        numbers.append(-lr)
    return [*numbers, 1.0 - beta, (1.0 - beta**step) ** 0.5, -(lr / (1.0 - beta**step)), 2 * step % 3 // 1]


@given(NUMBERS, NUMBERS, st.integers(1, 1000).map(float))
def test_numbers_are_those_of_the_function(lr, beta, step):
    told = numbers_of(adamish, (0.1, 0.9, 0.0, False, 1.0))
    assert told(lr, beta, 0.0, False, step) == adamish(lr, beta, 0.0, False, step)


@pytest.mark.parametrize("other", [(0.1, 0.9, 0.5, False, 2.0), (0.1, 0.9, 0.0, True, 2.0)])
def test_another_course_is_told(other):
    assert numbers_of(adamish, (0.1, 0.9, 0.0, False, 1.0))(*other) is None


def test_comparisons_are_conditions():
    def rule(step, start):
        return (step * 2 if step > start else start,)

    early, late = numbers_of(rule, (1.0, 5.0)), numbers_of(rule, (9.0, 5.0))
    assert early(2.0, 5.0) == [5.0] and early(6.0, 5.0) is None
    assert late(6.0, 5.0) == [12.0] and late(2.0, 5.0) is None


@pytest.mark.parametrize(
    "function",
    [lambda x: (math.sqrt(x),), lambda x: (x.real,), lambda x: (str(x),), lambda x: (1.0 / (x - x),)],
    ids=["math", "attribute", "text", "error"],
)
def test_what_is_no_arithmetic_has_no_expression(function):
    assert numbers_of(function, (2.0,)) is None


def test_tuples_texts_and_what_is_there_by_itself():
    def rule(bounds, way, extra):
        return [bounds[0] * 2 if way == "up" else bounds[1], 1.0 if extra is None else 2.0]

    told = numbers_of(rule, ((1.0, 2), "up", None))
    assert told((3.0, 2), "up", None) == [6.0, 1.0]
    assert told((3.0, 2, 1), "up", None) is told((3.0, 2), "down", None) is told((3.0, 2), "up", 0.0) is None


def test_a_number_that_belongs_to_the_way():
    told = numbers_of(lambda x, y: [x.fixed() * y], (2.0, 3.0))
    assert told(2.0, 5.0) == [10.0] and told(2.5, 5.0) is None


def test_signs_before_powers():
    told = numbers_of(lambda x: [(-2.0) ** x, -x**2.0, x**-1.0], (2.0,))
    assert told(4.0) == [16.0, -16.0, 0.25]


def test_infinities_and_negative_numbers():
    told = numbers_of(lambda x: (x * float("inf"), -x, 3 - x, 2.0**x, float("nan")), (2.0,))
    made = told(4.0)
    assert made[:4] == [math.inf, -4.0, -1.0, 16.0] and math.isnan(made[4])
