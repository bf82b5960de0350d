"""`segment_reduce` against sums, means, products and extremes of the parts; events and streams of the CPU."""

import pytest

import flambeau as torch

DATA = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "amax", "amin"])
def test_each_part(reduce):
    name = reduce.removeprefix("a")
    data = DATA.clone().requires_grad_()
    found = torch.segment_reduce(data, name, lengths=torch.tensor([1, 3]))
    wanted = torch.stack([getattr(part, reduce)(0) for part in (data[:1], data[1:])])
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad(t.pow(2).sum(), data)[0] for t in (found, wanted)]
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(torch.segment_reduce(DATA, name, offsets=torch.tensor([0, 1, 4])), wanted.detach())


def test_empty_parts_and_initial_values():
    lengths = torch.tensor([2, 0, 2])
    assert torch.segment_reduce(DATA, "sum", lengths=lengths)[1].tolist() == [0, 0]
    assert torch.segment_reduce(DATA, "mean", lengths=lengths)[1].isnan().all()
    assert torch.segment_reduce(DATA, "max", lengths=lengths, initial=9.0).min() == 9
    assert torch.segment_reduce(DATA, "max", lengths=lengths)[1].isinf().all()


def test_what_does_not_fit():
    for options in ({"lengths": torch.tensor([1, 1])}, {}, {"lengths": torch.tensor([5, -1])}):
        with pytest.raises(RuntimeError, match="segment_reduce"):
            torch.segment_reduce(DATA, "sum", **options)
    with pytest.raises(RuntimeError, match="reduce must be"):
        torch.segment_reduce(DATA, "median", lengths=torch.tensor([4]))


def test_events_and_streams():
    first, last = torch.Event(enable_timing=True), torch.Event(enable_timing=True)
    with torch.Stream() as stream:
        first.record(stream)
        last.record()
    assert first.query() and first.elapsed_time(last) >= 0 and stream == torch.Stream("cpu")
    with pytest.raises(RuntimeError, match="enable_timing"):
        torch.Event().elapsed_time(last)
