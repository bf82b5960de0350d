"""Making tensors: values, dtypes, shapes, and what is refused."""

import numpy as np


def case_tensor(torch, see):
    see(torch.tensor(1), torch.tensor(1.5), torch.tensor(True), torch.tensor(1j), torch.tensor([]), torch.tensor([[]]))
    see(
        torch.tensor([1, 2.5]),
        torch.tensor([True, 2]),
        torch.tensor([1, 2j]),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor((1, 2)),
    )
    see(torch.tensor(range(3)), torch.tensor([torch.tensor(1), torch.tensor(2)]), torch.tensor([np.float32(1.5), 2]))
    see(
        torch.tensor(np.float64(1.5)),
        torch.tensor(np.int32(3)),
        torch.tensor(np.bool_(True)),
        torch.tensor(np.array([1, 2])),
    )
    see(
        torch.tensor(np.array([1.0, 2.0])),
        torch.tensor(np.array([[1, 2]], dtype=np.int8)),
        torch.tensor([np.array([1, 2]), np.array([3, 4])]),
    )
    see(
        torch.tensor([1, 2], dtype=torch.float16),
        torch.tensor([1.9, -1.9], dtype=torch.int64),
        torch.tensor([0, 2], dtype=torch.bool),
    )
    see(
        torch.tensor([1.0], requires_grad=True),
        torch.tensor([1.0], device="cpu"),
        torch.tensor(3, dtype=torch.bfloat16),
    )
    see(
        torch.tensor(float("nan")),
        torch.tensor([float("inf"), -float("inf")]),
        torch.tensor(2**40),
        torch.tensor([2**40, 1]),
    )
    see(torch.tensor([1.0, 2.0], dtype=float), torch.tensor([1, 2], dtype=int), torch.tensor([1, 0], dtype=bool))


def case_tensor_refused(torch, see):
    for data in ([[1, 2], [3]], "abc", ["a"], None, [None], {1: 2}, 2**70, object()):
        see.error(lambda: torch.tensor(data))
    see.error(lambda: torch.tensor([300], dtype=torch.uint8))
    see.error(lambda: torch.tensor(1j, dtype=torch.float32))
    see.error(lambda: torch.tensor())
    see.error(lambda: torch.tensor([1], dtype="float32"))
    see.error(lambda: torch.tensor([1], device="nowhere"))
    see.error(lambda: torch.tensor(np.array(["a", "b"])))
    see.error(lambda: torch.tensor([1], foo=2))


def case_constructors(torch, see):
    see(
        torch.zeros(2, 3),
        torch.zeros((2, 3)),
        torch.zeros([2]),
        torch.zeros(torch.Size([1, 2])),
        torch.zeros(()),
        torch.zeros(0, 3),
    )
    see(
        torch.ones(2, dtype=torch.int32),
        torch.ones(size=(2,)),
        torch.full((2,), 7),
        torch.full((2,), 7.0),
        torch.full((2,), True),
    )
    see(torch.full((), 1j), torch.full((2, 2), 3, dtype=torch.float64), torch.full((1,), torch.tensor(2.5)))
    x = torch.ones(2, 3, dtype=torch.float64)
    see(
        torch.zeros_like(x),
        torch.ones_like(x, dtype=torch.int8),
        torch.full_like(x, 3),
        torch.zeros_like(x, requires_grad=True),
    )
    see(
        x.new_zeros(2),
        x.new_ones((1, 2)),
        x.new_full((2,), 4),
        x.new_tensor([1, 2]),
        x.new_empty(2, 2).shape,
        x.new_zeros(1, dtype=torch.int64),
    )
    see(
        torch.empty(2, 3).shape,
        torch.empty_like(x).dtype,
        torch.empty(0).numel(),
        torch.empty_strided((2, 3), (1, 2)).stride(),
    )
    see(
        torch.eye(3), torch.eye(2, 3), torch.eye(2, dtype=torch.int64), torch.scalar_tensor(3), torch.scalar_tensor(2.5)
    )
    see(torch.zeros(2, 3, device=torch.device("cpu")), torch.zeros(3, out=torch.empty(3)))
    see(torch.Size([2, 3]), torch.complex(torch.ones(2), torch.zeros(2)), torch.polar(torch.ones(1), torch.zeros(1)))


def case_constructors_refused(torch, see):
    see.error(lambda: torch.zeros(-1))
    see.error(lambda: torch.zeros(2, -3))
    see.error(lambda: torch.zeros(2.5))
    see.error(lambda: torch.zeros("a"))
    see.error(lambda: torch.zeros())
    see.error(lambda: torch.full((2,)))
    see.error(lambda: torch.ones(2, dtype=3))
    see.error(lambda: torch.eye(-1))
    see.error(lambda: torch.zeros_like([1, 2]))
    see.error(lambda: torch.ones(2, foo=1))
    see.error(lambda: torch.zeros(2, dtype=torch.int64, requires_grad=True))
    see.error(lambda: torch.complex(torch.ones(2), torch.ones(2, dtype=torch.float64)))
    see.error(lambda: torch.complex(torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)))


def case_ranges(torch, see):
    see(
        torch.arange(5),
        torch.arange(1, 5),
        torch.arange(1, 10, 3),
        torch.arange(5, 1, -2),
        torch.arange(0.5, 2.5),
        torch.arange(0, 1, 0.25),
    )
    see(
        torch.arange(3.0),
        torch.arange(0),
        torch.arange(3, dtype=torch.float64),
        torch.arange(1, 2.5, 0.5),
        torch.arange(start=1, end=3),
    )
    see(
        torch.arange(torch.tensor(3)),
        torch.arange(5, dtype=torch.uint8),
        torch.arange(end=2),
        torch.arange(2.5, dtype=torch.int32),
    )
    see(
        torch.linspace(0, 1, 5),
        torch.linspace(3, -3, 4),
        torch.linspace(1, 1, 1),
        torch.linspace(0, 10, 4, dtype=torch.int64),
        torch.linspace(0, 1, 0),
    )
    see(
        torch.logspace(0, 2, 3),
        torch.logspace(0, 3, 4, base=2),
        torch.linspace(0, 1, 3, dtype=torch.float64),
        torch.range(1, 3),
    )
    see.error(lambda: torch.arange(1, 5, -1))
    see.error(lambda: torch.arange(1, 5, 0))
    see.error(lambda: torch.arange(float("inf")))
    see.error(lambda: torch.linspace(0, 1, -1))
    see.error(lambda: torch.arange())


def case_from_others(torch, see):
    a = np.arange(6.0).reshape(2, 3)
    t = torch.from_numpy(a)
    t[0, 0] = 9
    see(a, t, torch.as_tensor(a).data_ptr() == t.data_ptr(), torch.as_tensor(a, dtype=torch.float32))
    see(
        torch.as_tensor(t) is t,
        torch.as_tensor([1, 2]),
        torch.as_tensor(3),
        torch.asarray(a).data_ptr() == t.data_ptr(),
    )
    see(torch.asarray([1.0, 2.0], dtype=torch.float64), torch.asarray(t, copy=True).data_ptr() == t.data_ptr())
    see(torch.from_numpy(a.T).stride(), torch.from_numpy(a[:, ::2]), torch.from_numpy(np.array(3)))
    see(
        torch.frombuffer(bytearray(b"\x01\x02\x03\x04"), dtype=torch.uint8),
        torch.frombuffer(bytearray(8), dtype=torch.int32, offset=4),
    )
    see.error(lambda: torch.from_numpy([1, 2]))
    see.error(lambda: torch.from_numpy(a[::-1]))
    see.error(lambda: torch.from_numpy(np.array(["a"])))
    see.error(lambda: torch.from_numpy(np.array([None])))
    see.error(lambda: torch.from_numpy(np.array([1], dtype=">i4")))
    see.error(lambda: torch.frombuffer(b"", dtype=torch.uint8))
    see.error(lambda: torch.asarray([1, 2], copy=False))


def case_legacy(torch, see):
    see(
        torch.Tensor([1, 2, 3]),
        torch.Tensor([[1.5]]),
        torch.Tensor(2, 3).shape,
        torch.Tensor().shape,
        torch.Tensor(torch.Size([2])).shape,
    )
    see(
        torch.FloatTensor([1, 2]),
        torch.LongTensor([1, 2]),
        torch.DoubleTensor([1]),
        torch.IntTensor([3]),
        torch.ByteTensor([1, 0]),
        torch.BoolTensor([True]),
    )
    see(
        torch.HalfTensor([1.5]),
        torch.ShortTensor([1]),
        torch.CharTensor([1]),
        torch.LongTensor(2, 2).shape,
        torch.Tensor((1, 2)),
    )
    see(torch.Tensor(np.array([1.0, 2.0])), torch.FloatTensor(np.array([1, 2], dtype=np.float32)))
    see.error(lambda: torch.Tensor("abc"))
    see.error(lambda: torch.Tensor(2.5))
    see.error(lambda: torch.LongTensor([1.5, 2.5]) and 1 / 0)
    see.error(lambda: torch.Tensor(None, 2))
    see.error(lambda: torch.Tensor(-1))
    x = torch.ones(2)
    see(
        x.type(),
        x.type(torch.float64),
        x.type("torch.IntTensor"),
        x.type(torch.LongTensor),
        torch.ones(1).int().type(),
        isinstance(x, torch.FloatTensor),
        isinstance(x, torch.LongTensor),
    )
    see(x.new(2, 2).shape, x.new([1, 2]), x.long().new([3]))
    see.error(lambda: x.type("nothing"))


def case_defaults(torch, see):
    see(torch.get_default_dtype())
    torch.set_default_dtype(torch.float64)
    try:
        see(
            torch.tensor(1.0),
            torch.zeros(1),
            torch.tensor(1) / 2,
            torch.arange(1.0),
            torch.tensor(1j),
            torch.ones(2, dtype=torch.int64).float(),
        )
        see(
            torch.tensor([1], dtype=torch.int64) + 1.5,
            torch.rand(1).dtype,
            torch.Tensor([1.0]).dtype,
            torch.linspace(0, 1, 2),
            torch.eye(1),
            torch.full((1,), 2.0),
        )
    finally:
        torch.set_default_dtype(torch.float32)
    see.error(lambda: torch.set_default_dtype(torch.int64))
    see(torch.get_default_dtype())


def case_dtypes(torch, see):
    for name in "float16 bfloat16 float32 float64 complex64 complex128 uint8 int8 int16 int32 int64 bool".split():
        d = getattr(torch, name)
        see(str(d), d.is_floating_point, d.is_complex, d.is_signed, d.itemsize)
    see(
        torch.float is torch.float32,
        torch.double is torch.float64,
        torch.half is torch.float16,
        torch.long is torch.int64,
        torch.int is torch.int32,
        torch.cfloat is torch.complex64,
    )
    for name in "float16 bfloat16 float32 float64".split():
        i = torch.finfo(getattr(torch, name))
        see(i.bits, i.eps, i.max, i.min, i.tiny, i.smallest_normal, i.resolution, i.dtype)
    see(str(torch.finfo(torch.float32)), str(torch.iinfo(torch.int8)), torch.finfo().dtype)
    for name in "uint8 int8 int16 int32 int64".split():
        i = torch.iinfo(getattr(torch, name))
        see(i.bits, i.max, i.min, i.dtype)
    see.error(lambda: torch.finfo(torch.int32))
    see.error(lambda: torch.iinfo(torch.float32))
    see(torch.float32.to_complex(), torch.complex128.to_real())


def case_devices(torch, see):
    see(
        torch.device("cpu"),
        torch.device("cuda:1").index,
        torch.device("cuda", 0),
        torch.device("cpu").type,
        torch.device(type="cpu"),
        torch.device("cpu") == torch.device("cpu"),
    )
    see(
        str(torch.device("cpu")),
        repr(torch.device("cuda:0")),
        hash(torch.device("cpu")) == hash(torch.device("cpu")),
        torch.ones(1).device,
        torch.device("cpu", 0),
    )
    see(
        torch.ones(1).to("cpu"),
        torch.ones(1).cpu(),
        torch.cuda.is_available(),
        torch.ones(1).is_cuda,
        torch.ones(1).get_device(),
        torch.cuda.device_count(),
    )
    see.error(lambda: torch.device("nothing"))
    see.error(lambda: torch.device("cpu:x"))
    see.error(lambda: torch.device("cuda:-1"))
    see(torch.device(torch.device("cpu")))
    with torch.device("cpu"):
        see(torch.ones(1))


def case_sizes(torch, see):
    s = torch.ones(2, 3).shape
    see(
        s,
        str(s),
        s[0],
        s[-1],
        s[1:],
        s == (2, 3),
        s + (4,),
        s.numel(),
        len(s),
        list(s),
        isinstance(s, tuple),
        s * 2,
        type(s[:1]).__name__,
        type(s + (1,)).__name__,
    )
    see(
        torch.Size(),
        torch.Size([1, 2]),
        torch.ones(2, 3).size(),
        torch.ones(2, 3).size(1),
        torch.ones(2, 3).size(-2),
        hash(s) == hash((2, 3)),
    )
    see.error(lambda: torch.ones(2).size(3))
    see.error(lambda: torch.Size([1.5]))
    a, b = s
    see(a, b, max(s), s.index(3), s.count(2), tuple(s), repr(torch.Size([])))
