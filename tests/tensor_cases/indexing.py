"""Indexing and assignment in all forms, with gradients."""

import numpy as np

INDICES = """0 -1 2 slice(None) slice(1,3) slice(None,None,2) slice(-2,None) slice(3,1) slice(5,9) slice(-9,2) None
Ellipsis (0,1) (0,-1) (slice(1),0)
(Ellipsis,0) (0,Ellipsis) (None,0) (0,None) (slice(None),None,1) (Ellipsis,None) (1,slice(None),slice(0,2))
(Ellipsis,slice(1,None)) (0,0,0) (slice(None),slice(None),1)
[0,2] [[0,2]] [0] [True,False,True] [-1,0] ([0,1],[1,2]) ([0,1],1) (1,[0,1]) (slice(None),[0,1])
([0,1],slice(None),[0,1]) (Ellipsis,[0,1]) ([[0],[1]],[0,2]) (0,[0,1],[1,0]) ([0,1],slice(1,3)) (None,[0,2])
([0,2],None)
L M M2 U8 (L,0) (slice(None),L) (L,L) (0,M1) (M,0) (slice(None),M3) L2 (L2,1) I32 Z (Z,1) ZM True False (0,True)
np.array([0,2]) np.int64(1) np.array(1) (np.array([0,1]),0) np.array([True,False,True]) (slice(None),np.array([1,0]))
EMPTY (slice(None),EMPTY)
(slice(None,None,2),slice(1,None),None,0) (M1,) (slice(1,2),) () (slice(0,0),) range(2) (L,None,L) (0,slice(None),L)
(L,slice(None),0) ((0,1),) slice(T1,T3) T1 (T1,T1)""".split()
QUIET = {"U8", "True", "False", "ZM", "(0,True)"}  # whose writes PyTorch treats in ways of their own
BAD = """3 -4 (0,5) (0,0,0,0) [0,7] L9 2.5 'a' M4 (0,M) slice(None,None,-1) slice(None,None,0)
(Ellipsis,Ellipsis,0,0,0,0) F slice(0.5,2) ([0,1],[0,1,2]) T9 [[True,False],[False,True]]""".split()


def _names(torch):
    n = {"torch": torch, "np": np}
    n["L"] = torch.tensor([2, 0])
    n["L2"] = torch.tensor([[0, 1], [2, -1]])
    n["L9"] = torch.tensor([0, 9])
    n["M"] = torch.arange(9).reshape(3, 3) % 2 == 0
    n["M1"] = torch.tensor([True, False, True])
    n["M2"] = torch.arange(36).reshape(3, 3, 4) % 5 == 0
    n["M3"] = torch.arange(12).reshape(3, 4) % 3 == 0
    n["M4"] = torch.tensor([True, False])
    n["U8"] = torch.tensor([1, 0, 1], dtype=torch.uint8)
    n["I32"] = torch.tensor([1, 0], dtype=torch.int32)
    n["Z"] = torch.tensor(1)
    n["ZM"] = torch.tensor(True)
    n["EMPTY"] = torch.tensor([], dtype=torch.int64)
    n["T1"], n["T3"], n["T9"] = torch.tensor(1), torch.tensor(3), torch.tensor(9)
    n["F"] = torch.tensor([1.5])
    return n


def _base(torch):
    return torch.arange(36.0).reshape(3, 3, 4)


def case_reading(torch, see):
    for text in INDICES:
        n = _names(torch)
        x = _base(torch).requires_grad_()
        index = eval(text, n)
        y = x[index]
        see([text, y, y._is_view(), y.is_contiguous()])
        if y.numel():
            (y * torch.arange(1.0, y.numel() + 1).reshape(y.shape)).sum().backward()
            see(x.grad.reshape(-1).tolist())


def case_reading_refused(torch, see):
    for text in BAD:
        see(text)
        see.error(lambda: _base(torch)[eval(text, _names(torch))])
    see.error(lambda: torch.tensor(1.0)[0])
    see.error(lambda: torch.tensor(1.0)[:])
    see(
        torch.tensor(1.0)[None],
        torch.tensor(1.0)[...],
        torch.tensor(1.0)[()],
        torch.tensor(1.0)[True],
        torch.tensor(1.0)[torch.tensor(False)],
    )


def _assign(torch, see, text, make):
    if text in QUIET:
        return
    n = _names(torch)
    x = _base(torch)
    index = eval(text, n)
    try:
        x[index] = make(x[index].shape)
    except Exception as error:
        see([text, type(error).__name__])
    else:
        see([text, x.reshape(-1).tolist(), x._version])


def case_writing_numbers(torch, see):
    for text in INDICES:
        _assign(torch, see, text, lambda shape: -1)


def case_writing_tensors(torch, see):
    for text in INDICES:
        _assign(
            torch,
            see,
            text,
            lambda shape: (
                -torch.arange(1.0, 1 + torch.zeros(shape).numel()).reshape(shape)
                if len(set(text) & set("L[")) == 0
                else torch.full(shape, -2.0)
            ),
        )
        _assign(torch, see, text, lambda shape: torch.tensor(-3))
        _assign(torch, see, text, lambda shape: torch.full((1, 1, *shape), -4, dtype=torch.float64))
        _assign(torch, see, text, lambda shape: torch.full(shape[-1:], -5))
        _assign(torch, see, text, lambda shape: torch.ones(7, 7))


def case_writing_refused(torch, see):
    for text in BAD:
        x = _base(torch)
        see(text)

        def write():
            x[eval(text, _names(torch))] = 1.0

        see.error(write)
    x = _base(torch)
    for value in ("a", None, [[1, 2]], {}):

        def write_value():
            x[0, 0] = value

        see.error(write_value)
    see(x.sum())


def case_writing_converts(torch, see):
    for dtype in ("int64", "uint8", "bool", "float16", "complex64", "bfloat16"):
        x = torch.zeros(3, dtype=getattr(torch, dtype))
        x[0] = 1.7
        x[1] = torch.tensor(2.9, dtype=torch.float64)
        x[torch.tensor([2])] = 3.5 if dtype != "bool" else True
        see(x)
        x[x == 1] = 5
        x[1:] = torch.tensor([1.0, 0.0])
        x[[0, 1]] = torch.tensor([1.0, 0.0]).to(x.dtype)
        see(x)
    y = torch.zeros(2)

    def write_complex():
        y[0] = 1j

    see.error(write_complex)
    y[0] = True
    y[1] = np.float64(2.5)
    see(y)
    y[:] = torch.tensor([3, 4])
    y[...] = torch.tensor([[5.0, 6.0]])
    see(y)
    z = torch.zeros(2, 2)
    z[0] = torch.tensor([1.0, 2.0], requires_grad=True).detach()
    z[:, 1] = 7
    z[1] = torch.from_numpy(np.array([8.0, 9.0]))
    see(z)


def case_writing_is_recorded(torch, see):
    places = (
        "0 (0,1) slice(1,3) L M M1 (slice(None),1) Ellipsis (Ellipsis,0) (L,0) [0,2] (L2,1) "
        "slice(None,None,2) (None,0) M2 () slice(None)"
    )
    for text in places.split():
        n = _names(torch)
        x = _base(torch).requires_grad_()
        y = x * 2
        index = eval(text, n)
        v = torch.full(y[index].shape, 3.0, requires_grad=True)
        y[index] = v * 1
        see([text, y.grad_fn.name(), y.requires_grad])
        (y * torch.arange(36.0).reshape(3, 3, 4)).sum().backward()
        see(x.grad.reshape(-1).tolist(), v.grad.reshape(-1).tolist())
        s = torch.tensor(2.0, requires_grad=True)
        z = torch.zeros(3, 3, 4)
        z[index] = s
        see(z.requires_grad, z.is_leaf)
        z.sum().backward()
        see(s.grad)
        w = x.detach().clone().requires_grad_() * 1
        w[index] = 0.5
        see(w.requires_grad, w.grad_fn.name())


def case_writing_to_leaves(torch, see):
    x = _base(torch).requires_grad_()

    def write():
        x[0] = 1.0

    see.error(write)
    with torch.no_grad():
        x[0] = 1.0
        x[x > 30] = 0
    see(x, x._version)


def case_operators_on_items(torch, see):
    x = _base(torch)
    x[0] += 1
    x[1, :2] *= 2
    x[x > 20] -= 5
    x[torch.tensor([0, 0])] += 10
    x[:, 0] /= 2
    x[2] **= 2
    see(x, x._version)
    y = _base(torch).requires_grad_()
    z = y * 1
    z[0] += 1
    z[1] *= y[0]
    z[y.detach() > 30] *= 3
    z.sum().backward()
    see(z, y.grad)


def case_functions_of_indices(torch, see):
    x = _base(torch).requires_grad_()
    i = torch.tensor([2, 0])
    see(
        x.index_select(1, i),
        x.take(torch.tensor([[0, 35], [1, -1]])),
        x.gather(2, torch.zeros(3, 3, 2, dtype=torch.int64)),
        torch.masked_select(x, x > 33),
    )
    see(
        x.index_add(0, i, torch.ones(2, 3, 4)),
        x.index_copy(0, i, torch.zeros(2, 3, 4)),
        x.index_fill(0, i, -1.0),
        x.masked_fill(x > 5, 0.0),
        x.index_put((i,), torch.tensor(0.0)),
    )
    see(
        torch.zeros(4).scatter(0, i, 5.0),
        torch.zeros(4).scatter_add(0, torch.tensor([1, 1]), torch.ones(2)),
        torch.zeros(3).index_put_((torch.tensor([1, 1]),), torch.ones(2), accumulate=True),
    )
    see(
        x.nonzero()[:3],
        torch.nonzero(x > 33, as_tuple=True),
        torch.where(x > 33),
        x.argmax(),
        torch.take_along_dim(x, x.argmax(2, keepdim=True), 2),
    )
    see.error(lambda: x.index_select(0, torch.tensor([5])))
    see.error(lambda: x.index_select(3, i))
    see.error(lambda: x.gather(0, torch.zeros(1, dtype=torch.int64)))
    see.error(lambda: x.take(torch.tensor([99])))
    see.error(lambda: torch.masked_select(x, torch.ones(2, dtype=torch.bool)))
