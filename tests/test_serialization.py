"""Saving and loading: nothing runs, nothing is half written, damage is noticed."""

import io
import os
import pickle
import random
import stat
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import flambeau as torch
from flambeau import serialization as files
from flambeau.errors import CheckpointError
from flambeau.nn.parameter import Parameter


def saved(obj, **options):
    file = io.BytesIO()
    files.save(obj, file, **options)
    return file.getvalue()


def loaded(data, **options):
    return files.load(io.BytesIO(data), **options)


def with_pickle(program):
    """A file whose pickle is `program`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", np.arange(4, dtype=np.float32).tobytes())
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def test_a_state_dict_comes_back(tmp_path):
    state = OrderedDict(w=Parameter(torch.ones(2, 3)), b=torch.zeros(2, dtype=torch.bfloat16), step=torch.tensor(3))
    state._metadata = {"version": 1}
    path = tmp_path / "state.pt"
    files.save(state, path)
    back = files.load(path)
    assert type(back) is OrderedDict and back._metadata == {"version": 1}
    assert type(back["w"]) is Parameter and back["w"].requires_grad and back["w"].tolist() == [[1, 1, 1]] * 2
    assert back["b"].dtype is torch.bfloat16 and back["step"].item() == 3
    back["w"].data.add_(1)


def test_records_are_aligned_and_plain(tmp_path):
    path = tmp_path / "model.pt"
    files.save([torch.ones(3), torch.ones(5)], path)
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        assert archive.namelist()[0] == "model/data.pkl" and archive.testzip() is None
        for info in archive.infolist():
            raw.seek(info.header_offset + 26)
            name, extra = np.frombuffer(raw.read(4), np.uint16)
            assert (info.header_offset + 30 + int(name) + int(extra)) % 64 == 0
            assert info.compress_type == zipfile.ZIP_STORED


def test_the_recorded_file_of_pytorch():
    here = os.path.join(os.path.dirname(__file__), "recorded", "torch_2_13.pt")
    found = files.load(here)
    assert found["view"].tolist() == [[0.0, 2.0], [1.0, 3.0]] and found["view"].stride() == (1, 2)
    assert found["half"].dtype is torch.float16 and found["u16"].tolist() == [1, 65535]
    assert type(found["weight"]) is Parameter and found["state"]._metadata == {"v": 1}
    found["base"][0, 0] = 9.0
    assert found["view"][0, 0].item() == 9.0


# --- nothing runs ----------------------------------------------------------------------------------------------------


class Calls:
    ran = False

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return _touch, ()


def _touch():
    Calls.ran = True


HOSTILE = {
    "calls a function": pickle.dumps(Calls(), 2),
    "calls a function by stack": pickle.dumps(Calls(), 4),
    "os.system": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "eval of Python 2": b"\x80\x02c__builtin__\neval\n.",
    "old instance": b"(ios\nsystem\n.",
    "extension": b"\x82\x01.",
    "calls a dtype": b"\x80\x02ctorch\nfloat32\n)R.",
    "calls a storage type": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "calls text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "makes an instance of text": b"\x80\x02X\x01\x00\x00\x00a)\x81.",
    "gives a class a state": b"\x80\x02ctorch\nTensor\n}X\x01\x00\x00\x00aK\x01sb.",
    "gives a function a state": b"\x80\x02ctorch._utils\n_rebuild_tensor\nN}X\x0c\x00\x00\x00__defaults__N\x86sb.",
    "gives an OrderedDict slots": b"\x80\x02ccollections\nOrderedDict\n)R(N}tb.",
    "appends to a dict": b"\x80\x02}K\x01a.",
    "items of a list": b"\x80\x02]K\x01K\x02s.",
    "a huge string": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a negative string": b"\x80\x02T\xff\xff\xff\xffabc.",
    "an unhashable key": b"\x80\x02}]K\x01s.",
    "a codec that decompresses": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
    "a bytearray of a size": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "memory that is not there": b"\x80\x02h\x05.",
    "no end": b"\x80\x02K\x01",
    "an empty stack": b"\x80\x02.",
    "no mark": b"\x80\x02K\x01t.",
    "a storage of no kind": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a tensor of no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))\x89}tR.",
    "a parameter of no tensor": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(K\x01\x88}tR.",
    "a tensor rebuilt by a set": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n"
    b"(cbuiltins\nset\nctorch\nTensor\n)}tR.",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused(case):
    Calls.ran = False
    with pytest.raises(CheckpointError):
        loaded(with_pickle(HOSTILE[case]))
    assert not Calls.ran


def test_the_refused_name_is_told():
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system"):
        loaded(with_pickle(HOSTILE["os.system"]))
    assert files.get_unsafe_globals_in_checkpoint(io.BytesIO(with_pickle(HOSTILE["os.system"]))) == ["os.system"]


def storage_program(count=4, offset=0, size=(4,), stride=(1,)):
    """A pickle of one float32 tensor in record 0, with the numbers asked for."""

    def integer(n):
        return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)

    def numbers(values):
        return b"(" + b"".join(integer(n) for n in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + integer(count)
    tensor = storage + b"tQ" + integer(offset) + numbers(size) + numbers(stride) + b"\x89}"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"tR."


def test_a_tensor_stays_within_its_storage():
    assert loaded(with_pickle(storage_program())).tolist() == [0, 1, 2, 3]
    assert loaded(with_pickle(storage_program(offset=1, size=(2, 2), stride=(1, 1)))).tolist() == [[1, 2], [2, 3]]
    for wrong in (
        {"offset": 1},
        {"offset": -1},
        {"size": (5,)},
        {"stride": (2,)},
        {"stride": (-1,)},
        {"size": (-4,)},
        {"size": (2, 2)},
        {"size": (4, 2**62), "stride": (1, 2**40)},
        {"offset": 2**62},
        {"size": (1,), "stride": (2**70,)},
        {"size": (1,) * 70, "stride": (1,) * 70},
    ):
        with pytest.raises(pickle.UnpicklingError):
            loaded(with_pickle(storage_program(**wrong)))
    for count in (3, 5, 2**60):
        with pytest.raises(RuntimeError):
            loaded(with_pickle(storage_program(count=count)))


def test_damaged_files_raise_and_never_run_anything():
    """Any byte changed: an error, or a value, but never anything else than that."""
    rng = random.Random(0)
    state = OrderedDict(w=Parameter(torch.ones(2, 3)), b=torch.zeros(2), t=(1, "a", {2}, b"x"))
    file = io.BytesIO(saved(state))
    program = zipfile.ZipFile(file).read("archive/data.pkl")
    for _ in range(3000):
        changed = bytearray(program)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            loaded(with_pickle(bytes(changed)))
        except CheckpointError:
            pass
    whole = saved(state)
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        try:
            loaded(bytes(changed))
        except CheckpointError:
            pass
    for length in range(0, len(whole), 97):
        with pytest.raises(CheckpointError):
            loaded(whole[:length])


def test_changed_numbers_are_noticed():
    data = saved(torch.full((8,), 1.5))
    at = data.index(np.full(8, 1.5, np.float32).tobytes())
    with pytest.raises(RuntimeError, match="checksum"):
        loaded(data[:at] + b"\x01" + data[at + 1 :])


def test_attributes_of_a_tensor_never_replace_what_it_is_made_of():
    t = torch.ones(2)
    t.note, t._secret = "kept", 1
    back = loaded(saved(t))
    assert back.note == "kept" and not hasattr(back, "_secret")
    program = (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n"
        b"(ctorch._utils\n_rebuild_parameter\nctorch.nn.parameter\nParameter\n("
        + storage_program()[2:-1]
        + b"\x88}t}(X\x02\x00\x00\x00_aN"
        + b"X\x05\x00\x00\x00shapeNX\x02\x00\x00\x00okK\x01utR."
    )
    found = loaded(with_pickle(program))
    assert found.tolist() == [0, 1, 2, 3] and found.ok == 1 and tuple(found.shape) == (4,)


# --- names that the user allows --------------------------------------------------------------------------------------


class Settings:
    def __init__(self, rate):
        self.rate = rate


def test_safe_globals():
    data = saved({"s": Settings(0.5)})
    with pytest.raises(pickle.UnpicklingError, match="Settings"):
        loaded(data)
    with files.safe_globals([Settings]):
        assert loaded(data)["s"].rate == 0.5
        assert files.get_safe_globals() == [Settings]
    with pytest.raises(pickle.UnpicklingError):
        loaded(data)
    files.add_safe_globals([(Settings, f"{Settings.__module__}.Settings")])
    try:
        assert loaded(data)["s"].rate == 0.5
    finally:
        files.clear_safe_globals()
    assert files.get_safe_globals() == []
    with pytest.raises(TypeError):
        files.add_safe_globals([Settings, 3])
    assert files.get_safe_globals() == []
    assert loaded(data, weights_only=False)["s"].rate == 0.5


# --- files appear whole ----------------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    files.save({"a": 1}, path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        files.save({"a": lambda: 1}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.pt"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    files.save(torch.ones(3), path)

    def crash(self, name, data):
        raise KeyboardInterrupt

    monkeypatch.setattr("flambeau.serialization.archive.ArchiveWriter.write", crash)
    with pytest.raises(KeyboardInterrupt):
        files.save(torch.zeros(3), path)
    assert files.load(path).tolist() == [1, 1, 1] and os.listdir(tmp_path) == ["x.pt"]


def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "x.pt", tmp_path / "link.pt"
    files.save(1, path)
    path.chmod(0o640)
    link.symlink_to(path)
    files.save(2, link)
    assert link.is_symlink() and files.load(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_device_is_written_to():
    files.save(torch.ones(2), os.devnull)
    assert not os.path.isfile(os.devnull)


def test_files_that_cannot_seek_are_written():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    files.save({"a": torch.arange(3)}, pipe)
    assert loaded(pipe.data)["a"].tolist() == [0, 1, 2]


def test_views_of_different_dtypes_are_refused():
    base = torch.ones(4)
    with pytest.raises(RuntimeError, match="same memory"):
        saved([base, torch.from_numpy(base.numpy().view(np.int32))])


def test_strange_strides_are_saved_as_values():
    every_other_byte = np.zeros(12, np.uint8)[1:9].view(np.float32)
    assert loaded(saved(torch.from_numpy(every_other_byte))).tolist() == [0, 0]


def test_modules_need_trust():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    data = saved(model)
    with pytest.raises(pickle.UnpicklingError, match="Sequential"):
        loaded(data)
    back = loaded(data, weights_only=False)
    assert type(back) is torch.nn.Sequential
    assert back[0].weight.tolist() == model[0].weight.tolist()
    assert b"torch.nn" in data and b"flambeau" not in data


def test_pickled_tensors_take_the_quick_paths():
    for made in (pickle.loads(pickle.dumps(torch.arange(3))), torch.tensor(pickle.loads(pickle.dumps(np.arange(3))))):
        assert made._a.dtype is np.dtype(np.int64) and made.tolist() == [0, 1, 2] and type(made.tolist()[0]) is int
    back = pickle.loads(pickle.dumps(Parameter(torch.ones(2, dtype=torch.bfloat16))))
    assert back.dtype is torch.bfloat16 and back.requires_grad and type(back) is Parameter
