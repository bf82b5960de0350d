"""Files against the live oracle: it reads what flambeau saves, and flambeau reads what it saves."""

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest

import flambeau
import flambeau.serialization as files
from flambeau import dtypes
from flambeau.nn.parameter import Parameter
from flambeau.tensor.tensor import Tensor

torch = pytest.importorskip("torch")

ALL = """bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128
         float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu""".split()


def to_ours(tensor):
    """The same bits in flambeau."""
    dtype = getattr(dtypes, str(tensor.dtype).removeprefix("torch.").replace("bool", "bool_"))
    raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().copy()
    return flambeau.from_numpy(raw.view(dtype.numpy).reshape(tuple(tensor.shape)))


def bits(tensor):
    """dtype, shape, strides and bytes of a tensor of either."""
    if isinstance(tensor, Tensor):
        raw = np.ascontiguousarray(tensor._a).tobytes()
    else:
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return str(tensor.dtype), tuple(tensor.shape), tuple(tensor.stride()), bool(tensor.requires_grad), raw


def plain(value):
    """Any loaded value with tensors as their bits, for comparison."""
    if isinstance(value, (Tensor, torch.Tensor)):
        return type(value).__name__, bits(value), {k: v for k, v in vars(value).items() if k[0] != "_"}
    if isinstance(value, dict):
        return (
            type(value).__name__,
            {k: plain(v) for k, v in value.items()},
            vars(value) if hasattr(value, "__dict__") else 0,
        )
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(v) for v in value]
    return type(value).__name__, str(value)


def through(save, load, obj, **options):
    """What `load` finds in what `save` wrote."""
    file = io.BytesIO()
    save(obj, file, **options)
    file.seek(0)
    return load(file)


def contents(T, parameter, tensor):
    """A container of all that a file can hold, made of the tensors of either."""
    base = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    tagged = tensor([1.0])
    tagged.note = "a"
    weight = parameter(tensor([3.0, 4.0]))
    weight.tag = 7
    state = collections.OrderedDict(w=parameter(tensor([1.0, 2.0])), b=tensor([1.0]).requires_grad_())
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return {
        "state": state, "base": base, "row": base[1], "transposed": base.t(), "steps": base[:, ::2], "tagged": tagged,
        "weight": weight, "frozen": parameter(tensor([1.0]), requires_grad=False), "empty": T.zeros(0, 3),
        "scalar": T.zeros(()), "expanded": T.ones(1, 2).expand(3, 2), "int": 3, "long": 1 << 80, "float": 1.5,
        "complex": 1j, "none": None, "flags": [True, False], "text": "é\n", "bytes": b"\x00\xff",
        "tuple": (1, (2,), ()),
        "set": {1}, "array": bytearray(b"ab"), "size": T.Size([2, 3]), "device": T.device("cpu"), "dtype": T.float16,
        "counter": collections.Counter("aab"), 5: "key", (1, 2): "pair",
    }  # fmt: skip


def ours():
    return contents(flambeau, Parameter, flambeau.tensor)


def theirs():
    return contents(torch, torch.nn.Parameter, torch.tensor)


FORMATS = [{}, {"_use_new_zipfile_serialization": False}]


@pytest.mark.parametrize("options", FORMATS)
def test_everything_goes_to_pytorch(options):
    assert plain(through(files.save, torch.load, ours(), **options)) == plain(theirs())


@pytest.mark.parametrize("options", FORMATS)
def test_everything_comes_from_pytorch(options):
    assert plain(through(torch.save, files.load, theirs(), **options)) == plain(ours())


@pytest.mark.parametrize("options", [*FORMATS, {"pickle_protocol": 4}, {"pickle_protocol": 5}])
@pytest.mark.parametrize("weights_only", [True, False])
def test_everything_comes_back(options, weights_only):
    loaded = through(files.save, lambda f: files.load(f, weights_only=weights_only), ours(), **options)
    assert plain(loaded) == plain(ours())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("options", FORMATS)
def test_dtypes(name, options):
    values = torch.randint(0, 255, (4, 16), dtype=torch.uint8).view(-1)
    tensor = values % 2 == 1 if name == "bool" else values.view(getattr(torch, name)).reshape(2, -1)
    mine = to_ours(tensor)
    assert bits(mine) == bits(tensor)
    untyped = name.startswith(("uint1", "uint3", "uint64", "float8"))
    if not (untyped and options):  # PyTorch's own older format has no room for untyped storages
        assert bits(through(torch.save, files.load, tensor, **options)) == bits(tensor)
        assert bits(through(files.save, torch.load, mine, **options)) == bits(tensor)
    assert bits(through(files.save, files.load, mine)) == bits(tensor)


def test_every_dtype_that_both_have_is_compared():
    both = {n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype) and hasattr(flambeau, n)}
    assert {str(getattr(torch, n)).removeprefix("torch.") for n in both} == {*ALL, "complex32"}  # that in name alone


def test_shared_memory_stays_shared():
    def use(T, save, load):
        base = T.arange(6.0)
        a, b = through(save, load, [base, base[2:]])
        b += 100
        return a.tolist()

    expected = use(torch, torch.save, torch.load)
    assert use(flambeau, files.save, files.load) == expected
    assert use(flambeau, files.save, torch.load) == expected
    assert use(torch, torch.save, files.load) == expected


def test_one_tensor_twice_is_one_tensor():
    t = flambeau.ones(2)
    for load in (files.load, torch.load):
        a, b = through(files.save, load, [t, t])
        assert a is b


def test_a_view_saves_its_whole_memory_as_pytorch_does():
    for T, save in ((torch, torch.save), (flambeau, files.save)):
        file = io.BytesIO()
        save(T.zeros(100_000)[:2], file)
        assert file.getbuffer().nbytes > 400_000


def test_a_state_dict_is_pickled_byte_for_byte_alike():
    found = []
    for T, save in ((torch, torch.save), (flambeau, files.save)):
        state = collections.OrderedDict(weight=T.ones(2, 3), bias=T.zeros(2).requires_grad_())
        file = io.BytesIO()
        save(state, file)
        found.append(zipfile.ZipFile(file).read("archive/data.pkl"))
    assert found[0] == found[1]


def test_archives_with_numbers_of_64_bits(monkeypatch):
    """The layout of files beyond 4 GB, and of ones with more records than 16 bits count, as PyTorch reads it."""
    from flambeau.serialization.archive import ArchiveWriter

    for name in ("limit", "most"):
        monkeypatch.setattr(ArchiveWriter, name, 3 if name == "most" else 300)
        back = through(files.save, torch.load, {"a": flambeau.arange(100.0), "b": flambeau.arange(3)})
        assert back["a"].tolist() == list(range(100)) and back["b"].tolist() == [0, 1, 2]
        monkeypatch.undo()


def test_files_without_checksums():
    torch.serialization.set_crc32_options(False)
    try:
        assert through(torch.save, files.load, torch.arange(5.0)).tolist() == [0, 1, 2, 3, 4]
    finally:
        torch.serialization.set_crc32_options(True)


def test_storages():
    for T, save, load in ((torch, torch.save, files.load), (flambeau, files.save, torch.load)):
        x = T.arange(4.0)
        view, typed = through(save, load, [x[2:], x.storage()])
        assert view.tolist() == [2, 3] and list(typed) == [0, 1, 2, 3]
        typed[3] = 9.0
        assert view.tolist() == [2, 9]
        assert through(save, load, x.untyped_storage()).nbytes() == 16


def test_places_in_a_file():
    for save, load in ((torch.save, files.load), (files.save, torch.load)):
        T = torch if save is torch.save else flambeau
        file = io.BytesIO()
        file.write(b"in front")
        save(T.arange(3), file)
        file.seek(8)
        assert load(file).tolist() == [0, 1, 2]


def test_numpy_values_by_permission():
    core = np._core.multiarray
    allowed = [core.scalar, core._reconstruct, np.dtype, np.ndarray, type(np.dtype(float)), type(np.dtype(int)),
               collections.defaultdict, list]  # fmt: skip
    state = {"loss": np.float64(1.5), "array": np.arange(3), "d": collections.defaultdict(list, a=[1])}
    for save, load, library in ((torch.save, files.load, files), (files.save, torch.load, torch.serialization)):
        with pytest.raises(pickle.UnpicklingError):
            through(save, load, state)
        if load is torch.load:
            del state["d"]  # PyTorch fills no defaultdict, allowed or not
        with library.safe_globals(allowed):
            back = through(save, load, state)
        assert back["loss"] == 1.5 and back["array"].tolist() == [0, 1, 2]
        assert load is torch.load or back["d"]["new"] == []


def test_mapped_files(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.arange(1000.0), "b": torch.ones(3, dtype=torch.int8)}, path)
    loaded = files.load(path, mmap=True)
    loaded["a"] += 1
    assert loaded["a"].tolist()[:3] == [1, 2, 3]
    assert torch.load(path)["a"].tolist()[:3] == [0, 1, 2]
    files.save(loaded, path)
    assert torch.load(path, mmap=True)["a"].tolist()[:3] == [1, 2, 3]


def rewritten(obj, change):
    """A file of PyTorch's with each record changed."""
    file, turned = io.BytesIO(), io.BytesIO()
    torch.save(obj, file)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(turned, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    turned.seek(0)
    return turned


def test_other_byte_order():
    def change(name, data):
        if name.endswith("byteorder"):
            return b"big"
        return np.frombuffer(data, np.uint32).byteswap().tobytes() if "/data/" in name else data

    a, b = files.load(rewritten([torch.arange(3.0), torch.tensor([1 + 2j])], change))
    assert a.tolist() == [0, 1, 2] and b.tolist() == [1 + 2j]


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


REFUSED = {
    "code": lambda T: Evil(),
    "array": lambda T: np.ones(2),
    "module": lambda T: T.nn.Linear(2, 2),
    "class": lambda T: {"c": collections.defaultdict},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_names(case, capsys):
    for save, load, T in (
        (torch.save, files.load, torch),
        (files.save, torch.load, flambeau),
        (torch.save, torch.load, torch),
    ):
        if case == "module" and T is flambeau:
            continue
        file = io.BytesIO()
        save(REFUSED[case](T), file)
        file.seek(0)
        with pytest.raises(pickle.UnpicklingError):
            load(file)
        file.seek(0)
        expected = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        file.seek(0)
        assert sorted(files.get_unsafe_globals_in_checkpoint(file)) == sorted(expected) != []
    assert capsys.readouterr().out == ""


MALFORMED = {
    "nothing": b"",
    "text": b"\x7fhello world, this is not a pickle",
    "a pickled number": pickle.dumps(5),
    "a zip of something else": None,
    "a zip cut short": None,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files(case):
    data = MALFORMED[case]
    if data is None:
        file = io.BytesIO()
        if case == "a zip cut short":
            torch.save(torch.ones(100), file)
            data = file.getvalue()[:500]
        else:
            with zipfile.ZipFile(file, "w") as z:
                z.writestr("a", "b")
            data = file.getvalue()
    kinds = []
    for load in (torch.load, files.load):
        with pytest.raises(Exception) as caught:
            load(io.BytesIO(data))
        kinds.append(caught.type)
    assert issubclass(kinds[1], kinds[0])


def refusal(call):
    try:
        call()
    except Exception as error:
        return [cls.__name__ for cls in type(error).__mro__]
    return []


@pytest.mark.parametrize("call", [
    lambda T, d: T.load(d / "missing.pt"),
    lambda T, d: T.load(3),
    lambda T, d: T.save(1, 3),
    lambda T, d: T.save(1, d / "no" / "x.pt"),
    lambda T, d: T.save(1, d),
    lambda T, d: T.load(io.BytesIO(b"x"), mmap=True),
    lambda T, d: T.load(io.BytesIO((d / "ok.pt").read_bytes()), mmap=True),
    lambda T, d: T.load(d / "ok.pt", weights_only=True, pickle_module=pickle),
    lambda T, d: T.load(d / "ok.pt", map_location="cuda"),
    lambda T, d: T.load(d / "ok.pt", map_location="nonsense"),
    lambda T, d: T.load(d / "old.pt", mmap=True),
])  # fmt: skip
def test_refusals(call, tmp_path):
    torch.save(torch.ones(1), tmp_path / "ok.pt")
    torch.save(torch.ones(1), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    mine = type("F", (), {"save": staticmethod(files.save), "load": staticmethod(files.load)})
    found, expected = refusal(lambda: call(mine, tmp_path)), refusal(lambda: call(torch, tmp_path))
    assert expected and expected[0] in found


def test_locations():
    file = rewritten(torch.arange(3.0), lambda name, data: data.replace(b"cpu", b"xpu"))
    for load in (torch.load, files.load):
        with pytest.raises(RuntimeError):
            load(file)
        file.seek(0)
    for location in ("cpu", flambeau.device("cpu"), {"xpu": "cpu"}, lambda storage, place: storage):
        file.seek(0)
        assert files.load(file, location).tolist() == [0, 1, 2]
    for location in ({"cuda": "cpu"}, lambda storage, place: None):
        file.seek(0)
        with pytest.raises(RuntimeError):
            files.load(file, location)


def test_modules_go_both_ways():
    def make(T):
        T.manual_seed(0)
        return T.nn.Sequential(T.nn.Linear(3, 4), T.nn.ReLU(), T.nn.BatchNorm1d(4), T.nn.Linear(4, 2)).eval()

    x = [[1.0, 2.0, 3.0]]
    expected = make(torch)(torch.tensor(x)).tolist()
    mine = through(torch.save, lambda f: files.load(f, weights_only=False), make(torch))
    np.testing.assert_allclose(mine(flambeau.tensor(x)).tolist(), expected, atol=1e-6)
    own = through(files.save, lambda f: files.load(f, weights_only=False), make(flambeau))
    np.testing.assert_allclose(own(flambeau.tensor(x)).tolist(), expected, atol=1e-6)
    state = through(files.save, torch.load, make(flambeau).state_dict())
    other = make(torch)
    other.load_state_dict(state)
    assert other(torch.tensor(x)).tolist() == expected
    for save, load in ((torch.save, torch.load), (files.save, files.load)):
        model = make(torch if save is torch.save else flambeau)
        file = io.BytesIO()
        save(model, file)
        file.seek(0)
        with pytest.raises(pickle.UnpicklingError):
            load(file)
