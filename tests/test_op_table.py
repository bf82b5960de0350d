"""Every derivative against central finite differences in float64, at orders 1 and 2; and that no op is left out."""

import warnings

import pytest

import flambeau
from flambeau.ops.core import REGISTRY
from tests.op_rows.tools import Call, convert, flat, operands, replaced
from tests.op_table import COVERED, ROWS

# Finite differences run the op once per element: larger samples are compared with PyTorch only.
MOST_ELEMENTS = 600
# Draws depend on the generator's state; test_random compares them bit for bit.
DRAWN = ("flambeau.ops.random_ops", "flambeau.ops.dropout", "flambeau.ops.implicit")
DIFFERENTIABLE = [row for row in ROWS if row.orders]


def checked(row, sample: Call):
    """A function of the differentiable operands alone that returns the floating-point results."""
    function = row.function(flambeau)

    def run(*tensors):
        source = iter(tensors)
        args = replaced(sample.args, source, flambeau)
        kwargs = replaced(sample.kwargs, source, flambeau)
        return tuple(t for t in flat(function(*args, **kwargs)) if t.requires_grad)

    return run


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)
def test_derivatives(row):
    tried = 0
    for sample in row.calls():
        inputs = [convert(a, flambeau).requires_grad_() for a in operands(sample)]
        if not inputs or sum(t.numel() for t in inputs) > MOST_ELEMENTS:
            continue
        run = checked(row, sample)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not run(*inputs):
                continue
            tried += 1
            assert flambeau.autograd.gradcheck(run, inputs, **row.gradcheck)
            if row.orders > 1 and sum(t.numel() for t in inputs) <= 24:
                assert flambeau.autograd.gradgradcheck(run, inputs, **row.gradcheck)
    assert tried, "no sample has an operand to differentiate"


def test_every_op_with_a_derivative_is_in_the_table():
    ruled = (name for name, op in REGISTRY.items() if op.rules and op.compute.__module__ not in DRAWN)
    missing = sorted(name for name in ruled if name not in COVERED)
    assert not missing, f"{len(missing)} ops with derivatives but without a row: {', '.join(missing)}"


@pytest.mark.parametrize("row", [r for r in ROWS if any(o in REGISTRY for o in r.ops)], ids=lambda row: row.name)
def test_a_row_runs_the_ops_that_it_names(row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in row.calls():
            inputs = [t.requires_grad_() for t in (convert(a, flambeau) for a in operands(sample))]
            results = checked(row, sample)(*inputs)
            if results and row.orders:
                total = sum((t * t).sum().abs() for t in results)
                grads = [
                    t
                    for t in flambeau.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
                    if t is not None
                ]
                if row.orders > 1 and any(t.requires_grad for t in grads):
                    sum((t * t).sum().abs() for t in grads if t.requires_grad).backward(create_graph=True)
    never = [o for o in row.ops if o in REGISTRY and REGISTRY[o].node_class is None]
    assert not never, f"the row '{row.name}' says that it exercises {never}, which never ran"
