"""NumPy, DLPack, copies and pickles."""

import copy
import pickle

import numpy as np


def case_numpy_shares(torch, see):
    t = torch.arange(6.0).reshape(2, 3)
    a = t.numpy()
    a[0, 0] = 9
    t[1, 1] = -1
    see(t, a, type(a).__name__, t.t().numpy().strides, t[:, 1].numpy(), np.asarray(t).dtype, np.asarray(t) is not None)
    see(
        np.shares_memory(np.asarray(t), a),
        np.array(t).dtype,
        np.array(t, dtype=np.int64),
        np.asarray(t, dtype=np.float64),
    )
    for d in ("int8", "uint8", "int16", "int32", "int64", "float16", "float64", "bool", "complex64", "complex128"):
        see(torch.ones(2, dtype=getattr(torch, d)).numpy())
    x = torch.ones(2, requires_grad=True)
    see.error(x.numpy)
    see.error(lambda: np.asarray(x))
    see.error(lambda: np.sin(x))
    see(x.detach().numpy(), x.numpy(force=True))
    with torch.no_grad():
        see(x.numpy())
    see.error(torch.ones(2, dtype=torch.bfloat16).numpy)


def case_numpy_functions(torch, see):
    t = torch.tensor([1.0, 2.0, 3.0])
    see(np.sin(t), np.exp(t), np.add(t, 1), np.add(t, t), np.sqrt(t), np.maximum(t, 2), np.dot(t, t))
    see(
        np.concatenate([t, t]),
        np.stack([t, t]),
        np.where(t > 1, t, 0),
        np.linalg.norm(t),
        np.allclose(t, t),
        np.array_equal(t, t),
        np.isnan(t),
        np.greater(t, 2),
    )
    see(
        np.arange(3)[torch.tensor(1)],
        np.zeros(torch.tensor(2).item()),
        np.float32(t[0]),
        np.random.default_rng(0).permutation(3).shape,
    )


def case_mixed_operators(torch, see):
    t, a = torch.tensor([1.0, 2.0]), np.array([3.0, 4.0])
    for text in (
        "t + a",
        "t * a",
        "t - a",
        "t / a",
        "t ** a",
        "t > a",
        "t == a",
        "t @ a",
        "t + np.float64(2)",
        "t * np.float32(2)",
        "t + np.int64(1)",
        "t * np.bool_(True)",
        "torch.add(t, a)",
        "torch.matmul(t, a)",
        "np.float64(2) * t",
        "np.float32(2) + t",
        "np.int64(2) - t",
        "a + t",
        "a * t",
        "a - t",
        "a / t",
        "a > t",
        "np.float64(1) / t",
    ):
        try:
            value = eval(text, {"t": t, "a": a, "np": np, "torch": torch})
        except Exception as error:
            see([text, type(error).__name__])
        else:
            see([text, value])
    t += np.float64(1)
    see(t)
    i = torch.tensor([1, 2])
    see(
        i + np.int32(1),
        i * np.float32(1.5),
        i + np.array(1),
        t.clamp(np.float64(0), np.float64(1.5)),
        torch.full((2,), np.float32(1.5)),
        t.sum(np.int64(0)),
        t.reshape(np.int64(2), 1),
        torch.zeros(np.int64(2)),
    )


def case_dlpack(torch, see):
    t = torch.arange(4.0)
    a = np.from_dlpack(t)
    u = torch.from_dlpack(a)
    u[0] = 5
    see(t, a, u, torch.from_dlpack(t).data_ptr() == t.data_ptr(), t.__dlpack_device__()[0] == 1)
    see.error(lambda: torch.ones(1, requires_grad=True).__dlpack__())
    see(torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(t)))


def case_deepcopy(torch, see):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    see(y, y.grad, y.data_ptr() == x.data_ptr(), y.grad.data_ptr() == x.grad.data_ptr())
    see.error(lambda: copy.deepcopy(x * 2))
    pair = copy.deepcopy([x, x])
    see(pair[0] is pair[1])
    z = torch.ones(2)
    z.note = "hello"
    w = copy.deepcopy(z)
    see(w.note, copy.copy(z).data_ptr() == z.data_ptr())
    view = torch.arange(6.0).reshape(2, 3).t()
    c = copy.deepcopy(view)
    see(c, c.stride())
    p = torch.nn.Parameter(torch.ones(2))
    q = copy.deepcopy(p)
    see(q, type(q).__name__, q.requires_grad)
    base = torch.arange(4.0)
    two = copy.deepcopy([base, base[1:]])
    two[0][1] = 9
    see(two[1])


def case_pickle(torch, see):
    for t in (
        torch.arange(3),
        torch.ones(2, 2).t(),
        torch.tensor(1.5),
        torch.ones(2, requires_grad=True),
        torch.zeros(0),
        torch.ones(2, dtype=torch.bfloat16),
        torch.tensor([True]),
        torch.ones(4)[1:3],
    ):
        u = pickle.loads(pickle.dumps(t))
        see(u, u.data_ptr() == t.data_ptr(), u.stride())
    p = pickle.loads(pickle.dumps(torch.nn.Parameter(torch.ones(2))))
    see(p, type(p).__name__)
    x = torch.ones(2, requires_grad=True)
    u = pickle.loads(pickle.dumps(x * 2)) if False else None
    see(
        pickle.loads(pickle.dumps(torch.float32)),
        pickle.loads(pickle.dumps(torch.Size([1, 2]))),
        pickle.loads(pickle.dumps(torch.device("cpu"))),
    )


def case_storage(torch, see):
    t = torch.arange(6.0).reshape(2, 3)
    see(
        t[1].storage_offset(),
        t.t().stride(),
        t[:, 1].stride(),
        t.is_contiguous(),
        t.t().is_contiguous(),
        t.untyped_storage().nbytes(),
        t.storage().size(),
        t.element_size(),
        t.nbytes,
        t.itemsize,
    )
    see(
        t.data_ptr() == t.untyped_storage().data_ptr(),
        t[1].data_ptr() - t.data_ptr(),
        t.view(6).data_ptr() == t.data_ptr(),
        t.contiguous() is t,
        t.t().contiguous().is_contiguous(),
    )
    see(
        t.is_set_to(t),
        t.stride(0),
        t.stride(-1),
        torch.ones(2, 0, 3).stride(),
        torch.ones(()).stride(),
        t.numel(),
        t.nelement(),
        t.dim(),
        t.ndim,
        t.ndimension(),
    )
    see(
        t.view(3, 2),
        t.as_strided((2, 2), (1, 2)),
        t.as_strided((2,), (1,), 3),
        t.view(torch.int32).dtype,
        t.half().view(torch.int16).shape,
    )
    see.error(lambda: t.t().view(6))
    see.error(lambda: t.view(4, 2))
    see.error(lambda: t.view(-1, -1))
    see.error(lambda: t.view(-2, 3))
    see.error(lambda: t.as_strided((9,), (1,)))
