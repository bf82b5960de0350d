"""Python's protocols, conversions, and what else a tensor is asked."""

import math


def case_numbers(torch, see):
    for t in (
        torch.tensor(3),
        torch.tensor(2.5),
        torch.tensor(True),
        torch.tensor([7]),
        torch.tensor([[1.5]]),
        torch.tensor(1 + 2j),
        torch.tensor(0),
        torch.tensor(float("nan")),
    ):
        for f in (
            bool,
            int,
            float,
            complex,
            len,
            str,
            list,
            lambda v: range(5)[v],
            lambda v: [1, 2, 3][v],
            lambda v: v.item(),
            lambda v: v.tolist(),
            math.floor,
            round,
            lambda v: f"{v}",
            lambda v: f"{v:.2f}",
            lambda v: format(v, ">8"),
            hash and (lambda v: isinstance(hash(v), int)),
            lambda v: v.__index__(),
            abs,
            lambda v: -v,
        ):
            try:
                see(f(t))
            except Exception as error:
                see(f"raises {type(error).__name__}")
    see.error(lambda: bool(torch.ones(2)))
    see.error(lambda: bool(torch.ones(0)))
    see.error(lambda: float(torch.ones(2)))
    see.error(lambda: int(torch.ones(0)))
    see.error(lambda: torch.ones(2).item())
    see.error(lambda: len(torch.tensor(1)))
    see.error(lambda: list(torch.tensor(1)))
    see.error(lambda: [1, 2][torch.tensor([1, 0])])
    see(float(torch.ones(1, requires_grad=True)), torch.ones(2, requires_grad=True).tolist())
    see(
        torch.arange(4).reshape(2, 2).tolist(),
        torch.tensor([True]).tolist(),
        torch.ones(2, 0).tolist(),
        torch.ones(1, dtype=torch.float16).tolist(),
    )


def case_iteration(torch, see):
    t = torch.arange(6.0).reshape(3, 2)
    see(
        list(t),
        len(t),
        list(enumerate(t[0])),
        list(zip(t[:, 0], t[:, 1])),
        max(t[0]),
        sum(t[0]),
        sorted(t[0].tolist()),
        list(reversed(t)),
        3.0 in t,
        torch.tensor(9.0) in t,
    )
    a, b, c = t
    see(a, b, *c)
    x = t.clone().requires_grad_()
    sum(r.sum() * i for i, r in enumerate(x)).backward()
    see(x.grad)
    see({t[0]: 1}[t[0]] if False else 1, t[0] is t[0], t == t, (t != t).any(), t[0] == t[0].clone())
    see(
        isinstance(t, torch.Tensor),
        torch.is_tensor(t),
        torch.is_tensor([1]),
        hash(t) == hash(t),
        t.__hash__ is not None,
    )
    see.error(lambda: "a" in t)


def case_comparison_with_others(torch, see):
    t = torch.tensor([1.0, 2.0])
    see(t == None, t != None, t == "a", t == [1, 2], t.equal(t), torch.equal(t, t + 0), t is not None)  # noqa: E711
    see.error(lambda: t < "a")
    see.error(lambda: t + "a")
    see.error(lambda: t + None)
    see.error(lambda: t + [1, 2])
    see.error(lambda: t * (1, 2))
    see.error(lambda: torch.add(t, "a"))
    see.error(lambda: t @ 2)
    see.error(lambda: t + torch.ones(3))
    see.error(lambda: t.nothing)
    see.error(lambda: torch.exp(1.0))
    see.error(lambda: torch.exp([1.0]))
    see.error(lambda: torch.exp())
    see.error(lambda: torch.exp(t, t))
    see.error(lambda: t.sum(5))
    see.error(lambda: t.sum("a"))


def case_to(torch, see):
    t = torch.ones(2)
    see(
        t.to(torch.float64),
        t.to("cpu") is t,
        t.to(torch.float32) is t,
        t.to("cpu", torch.int64),
        t.to(torch.ones(1, dtype=torch.float16)),
        t.to(dtype=torch.bool),
        t.to(device="cpu", dtype=torch.float64),
    )
    see(
        t.to(torch.float32, copy=True) is t,
        t.to(torch.device("cpu"), non_blocking=True) is t,
        t.double(),
        t.half(),
        t.bfloat16(),
        t.int(),
        t.long(),
        t.short(),
        t.char(),
        t.byte(),
        t.bool(),
        t.float() is t,
        t.cfloat(),
        t.type_as(t.double()),
        t.cpu() is t,
    )
    see(
        torch.tensor([1.9, -1.9, 300.0]).to(torch.int32),
        torch.tensor([2.5]).to(torch.bool),
        torch.tensor([1, 0]).to(torch.float32),
        torch.tensor([True]).to(torch.int64),
    )
    see.error(lambda: t.to("nothing"))
    see.error(lambda: t.to(torch.float32, foo=1))
    x = torch.ones(2, requires_grad=True)
    y = x.to(torch.float64)
    (y * 2).sum().backward()
    see(y, x.grad, x.double().grad_fn.name(), x.to(torch.float32) is x)
    see.warns(lambda: torch.tensor([1 + 2j]).to(torch.float32))


def case_complex(torch, see):
    z = torch.tensor([1 + 2j, 3 - 4j])
    see(
        z,
        z.real,
        z.imag,
        z.abs(),
        z.angle(),
        z.conj(),
        z * z,
        z / 2,
        z + 1,
        z.sum(),
        z.mean(),
        z.exp(),
        z == z,
        torch.view_as_real(z),
        torch.view_as_complex(torch.ones(2, 2)),
        z.is_complex(),
        z @ z,
        torch.complex(torch.ones(1), torch.ones(1)),
        z.conj().imag,
        z.H if z.dim() == 2 else 0,
    )
    z.real[0] = 9
    see(z, z.real._is_view(), z.dtype, z.to(torch.complex128), z.tolist(), z.isreal(), z.resolve_conj())
    see.error(lambda: z > 1)
    see.error(lambda: torch.ones(1).imag)
    see.error(lambda: z.max())
    see.error(lambda: z.floor())
    w = torch.tensor([1 + 1j], requires_grad=True)
    (w * w.conj()).real.sum().backward()
    see(w.grad)
    x = torch.tensor([2.0], requires_grad=True)
    torch.complex(x, x * 2).abs().sum().backward()
    see(x.grad)


def case_attributes(torch, see):
    t = torch.ones(2, 3)
    see(
        t.shape,
        t.dtype,
        t.device,
        t.layout,
        t.T.shape,
        t.mT.shape,
        t.is_floating_point(),
        t.is_complex(),
        t.is_signed(),
        t.is_sparse,
        t.is_quantized,
        t.is_leaf,
        t.requires_grad,
        t.grad,
        t.grad_fn,
        t.output_nr,
        t._version,
        t.is_shared(),
        t.is_pinned(),
    )
    see(t.name, t.volatile) if False else None
    t.mine = 5
    see(
        t.mine,
        hasattr(t, "nothing"),
        t.T.T is t,
        torch.numel(t),
        torch.is_floating_point(t),
        t.data.requires_grad,
        t.element_size(),
        t.size(),
        t.size()[0],
        str(t.layout),
        torch.strided,
    )
    see.error(lambda: setattr(t, "shape", (3, 2)))
    see.error(lambda: setattr(t, "grad_fn", None))
    see.error(lambda: torch.ones(2, 3, 4).t())
    see(torch.ones(2, 3, 4).T.shape)
    see.error(lambda: torch.ones(2).mT)


def case_in_place_shape_changes(torch, see):
    t = torch.arange(6.0).reshape(2, 3)
    t.t_()
    see(t, t.stride())
    t.transpose_(0, 1).unsqueeze_(0)
    see(t.shape)
    t.squeeze_(0)
    see(t.shape, t.resize_(3, 2), t.resize_(2, 2), t.resize_as_(torch.ones(1, 4)), t.set_(torch.ones(2)))
    x = torch.ones(2, 3)
    y = x.view(6)
    x.t_()
    see(x.shape, y.shape, x._version)


def case_out(torch, see):
    out = torch.empty(2)
    see(torch.add(torch.ones(2), 1, out=out) is out, out)
    see(
        torch.exp(torch.zeros(2), out=out),
        torch.sum(torch.ones(2, 2), 0, out=out),
        torch.matmul(torch.ones(2, 2), torch.ones(2), out=out),
        torch.cat([torch.ones(1), torch.zeros(1)], out=out),
        torch.stack([torch.tensor(1.0), torch.tensor(2.0)], out=out),
    )
    empty = torch.empty(0)
    torch.mul(torch.ones(3), 2, out=empty)
    see(empty)
    see.warns(lambda: torch.mul(torch.ones(3), 2, out=torch.empty(2)))
    see.error(lambda: torch.add(torch.ones(2), 1.5, out=torch.empty(2, dtype=torch.int64)))
    see.error(lambda: torch.exp(torch.ones(2, requires_grad=True), out=torch.empty(2)))
    see.error(lambda: torch.exp(torch.ones(2), out=3))
    see(torch.max(torch.ones(2, 2), 0, out=(torch.empty(2), torch.empty(2, dtype=torch.int64)))[1])
    see(torch.add(torch.ones(2, dtype=torch.int64), 1, out=torch.empty(2)))
