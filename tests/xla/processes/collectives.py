"""All collectives, with every process checking what it got. Prints `fine` per process."""

import datetime
import sys

import torch
import torch.distributed as dist

DEVICE = sys.argv[1]


def make(values, dtype=None):
    return torch.tensor(values, dtype=dtype).to(DEVICE)


def check_dtypes(r, n):
    for dtype in (torch.int64, torch.uint8, torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.complex64):
        t = torch.ones(3).to(dtype).to(DEVICE)
        dist.all_reduce(t)
        assert t.dtype is dtype and t.device.type == DEVICE
        assert torch.equal(t.cpu(), torch.full((3,), n).to(dtype)), (dtype, t)
        t = torch.tensor([r + 1]).to(dtype).to(DEVICE)
        dist.broadcast(t, n - 1)
        assert torch.equal(t.cpu(), torch.tensor([n]).to(dtype)), (dtype, t)
        places = [torch.zeros(1, dtype=dtype).to(DEVICE) for _ in range(n)]
        dist.all_gather(places, torch.tensor([r]).to(dtype).to(DEVICE))
        assert all(torch.equal(p.cpu(), torch.tensor([i]).to(dtype)) for i, p in enumerate(places))
    t = make([-0.0, float("nan"), float("inf")] if r == 0 else [1.0, 1.0, 1.0])
    dist.broadcast(t, 0)
    assert str(t.tolist()) == "[-0.0, nan, inf]"


def check_reductions(r, n):
    kinds = dist.ReduceOp
    product = 1
    for i in range(n):
        product *= i + 1
    for op, want in ((kinds.SUM, n * (n + 1) / 2), (kinds.MAX, n), (kinds.MIN, 1), (kinds.PRODUCT, product),
                     (kinds.AVG, (n + 1) / 2)):  # fmt: skip
        t = make([r + 1.0])
        assert dist.all_reduce(t, op) is None and t.item() == want, (op, t)
    for op, want in ((kinds.BOR, (1 << n) - 1), (kinds.BAND, 0), (kinds.BXOR, (1 << n) - 1)):
        t = make([1 << r])
        dist.all_reduce(t, op)
        assert t.item() == want
    t = make([float(r)])
    dist.reduce(t, 1)
    assert t.item() == (n * (n - 1) / 2 if r == 1 else r)
    part = make([0.0, 0.0])
    dist.reduce_scatter_tensor(part, torch.arange(2.0 * n).to(DEVICE))
    assert part.tolist() == [2 * r * n, (2 * r + 1) * n]
    part = make([0.0])
    dist.reduce_scatter(part, [make([float(i + r)]) for i in range(n)], kinds.MAX)
    assert part.item() == r + n - 1


def check_moves(r, n):
    whole = torch.zeros(n * 2).to(DEVICE)
    dist.all_gather_into_tensor(whole, make([r, r + 0.5]))
    assert whole.tolist() == [x for i in range(n) for x in (i, i + 0.5)]
    places = [torch.zeros(i + 1).to(DEVICE) for i in range(n)]
    dist.all_gather(places, torch.full((r + 1,), float(r)).to(DEVICE))
    assert [p.tolist() for p in places] == [[float(i)] * (i + 1) for i in range(n)]
    t = make([0.0])
    dist.scatter(t, [make([i * 10.0]) for i in range(n)] if r == 1 else None, src=1)
    assert t.item() == 10 * r
    places = [make([0.0]) for _ in range(n)] if r == 0 else None
    dist.gather(make([r * 2.0]), places)
    assert places is None or [p.item() for p in places] == [2.0 * i for i in range(n)]
    places = [make([0.0, 0.0]) for _ in range(n)]
    dist.all_to_all(places, [make([float(r), float(i)]) for i in range(n)])
    assert [p.tolist() for p in places] == [[i, r] for i in range(n)]
    given, wanted = [i + 1 for i in range(n)], [r + 1] * n
    whole = torch.zeros(sum(wanted)).to(DEVICE)
    dist.all_to_all_single(whole, torch.full((sum(given),), float(r)).to(DEVICE), wanted, given)
    assert whole.tolist() == [float(i) for i in range(n) for _ in range(r + 1)]
    first = [make([1.0]), make([2.0])]
    works = [dist.all_reduce(t, async_op=True) for t in first]
    assert all(w.wait() for w in works) and [t.item() for t in first] == [n, 2 * n]


def check_objects(r, n):
    found = [None] * n
    dist.all_gather_object(found, {"rank": r, "text": "y" * r * 1000})
    assert [(x["rank"], len(x["text"])) for x in found] == [(i, i * 1000) for i in range(n)]
    found = [None, None] if r else ["a", {1: 2}]
    dist.broadcast_object_list(found, 0)
    assert found == ["a", {1: 2}]
    found = [None]
    dist.scatter_object_list(found, [f"o{i}" for i in range(n)] if r == 0 else None)
    assert found == [f"o{r}"]
    found = [None] * n if r == 1 else None
    dist.gather_object((r,), found, dst=1)
    assert found is None or found == [(i,) for i in range(n)]


def check_pairs(r, n):
    after, before = (r + 1) % n, (r - 1) % n
    mine, theirs = make([r * 1.0] * 4), make([0.0] * 4)
    for work in (dist.isend(mine, after), dist.irecv(theirs, before)):
        work.wait()
    assert theirs.tolist() == [before] * 4
    ops = [dist.P2POp(dist.isend, mine * 2, after), dist.P2POp(dist.irecv, theirs, before)]
    for work in dist.batch_isend_irecv(ops):
        work.wait()
    assert theirs.tolist() == [before * 2.0] * 4
    if r == 0:
        assert {dist.recv(theirs) for _ in range(n - 1)} == set(range(1, n))
        dist.send(torch.arange(2_000_000), 1)
        dist.send(make([1.0]), 1, tag=2)
        dist.send(make([2.0]), 1, tag=1)
    else:
        dist.send(mine, 0)
    if r == 1:
        big = torch.zeros(2_000_000, dtype=torch.int64)
        assert dist.recv(big, 0) == 0 and torch.equal(big, torch.arange(2_000_000))
        got = make([0.0])
        dist.recv(got, 0, tag=1)
        assert got.item() == 2
        dist.recv(got, 0, tag=2)
        assert got.item() == 1


def check_groups(r, n):
    pair = dist.new_group([0, 1])
    if r < 2:
        t = make([r + 1.0])
        dist.all_reduce(t, group=pair)
        assert t.item() == 3 and dist.get_rank(pair) == r and dist.get_world_size(pair) == 2
    else:
        assert dist.get_rank(pair) == -1 and pair == dist.GroupMember.NON_GROUP_MEMBER
    mine, all_ = dist.new_subgroups(1)
    assert dist.get_world_size(mine) == 1 and len(all_) == n and dist.get_process_group_ranks(mine) == [r]
    t = make([5.0])
    dist.all_reduce(t, group=mine)
    assert t.item() == 5
    try:
        dist.all_gather([t], t)
    except ValueError as error:
        assert f"of {n}" in str(error)
    else:
        raise AssertionError("a list of one for several processes")


early = torch.ones(3, device=DEVICE) * 7
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
assert early.tolist() == [7, 7, 7]  # what lay on a device before stays there
for check in (check_dtypes, check_reductions, check_moves, check_objects, check_pairs, check_groups):
    check(rank, size)
dist.barrier()
dist.monitored_barrier(timeout=datetime.timedelta(seconds=60))
dist.destroy_process_group()
assert not dist.is_initialized() and (early + 1).tolist() == [8, 8, 8]
dist.init_process_group("gloo")  # once more, at the same address
whole = make([1.0])
dist.all_reduce(whole)
assert whole.item() == size
print("fine")
