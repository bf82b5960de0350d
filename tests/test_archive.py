"""Archives and what surrounds them: sizes beyond 4 GB, checksums, byte orders, mapping, places, leftovers."""

import io
import mmap
import os
import pickle
import struct
import threading
import zipfile
from collections import defaultdict

import numpy as np
import pytest

import flambeau as torch
from flambeau import serialization as files
from flambeau.errors import CheckpointError, EmptyCheckpointError, SaveError
from flambeau.serialization.archive import ArchiveReader, ArchiveWriter


def saved(obj, **options):
    file = io.BytesIO()
    files.save(obj, file, **options)
    return file.getvalue()


def loaded(data, **options):
    return files.load(io.BytesIO(data), **options)


def rewritten(data, change, method=zipfile.ZIP_STORED, keep=lambda name: True):
    """The same archive written by another program, with records changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in filter(keep, old.namelist()):
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


# --- the archive -----------------------------------------------------------------------------------------------------


def test_archives_with_numbers_of_64_bits(monkeypatch):
    """The layout of files beyond 4 GB, at a size that a test can afford."""
    state = {"a": torch.arange(100.0), "b": torch.arange(7)}
    monkeypatch.setattr(ArchiveWriter, "limit", 300)
    data = saved(state)
    monkeypatch.undo()
    assert b"PK\6\6" in data and b"PK\6\7" in data
    assert loaded(data)["a"].tolist() == list(range(100)) and loaded(data)["b"].tolist() == list(range(7))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None and len(archive.read("archive/data/0")) == 400
    for at in range(data.index(b"PK\6\6"), len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x11
        try:
            assert loaded(bytes(changed))["a"].tolist() == list(range(100))
        except CheckpointError:
            pass


def test_archives_with_many_records(monkeypatch):
    monkeypatch.setattr(ArchiveWriter, "most", 100)  # rather than 65,535
    back = loaded(data := saved([torch.tensor([i]) for i in range(300)]))
    assert len(back) == 300 and back[299].item() == 299 and b"PK\6\6" in data


def test_an_archive_in_the_midst_of_a_file(tmp_path):
    data = saved({"a": torch.arange(3)})
    file = io.BytesIO(b"header" + data)
    file.seek(6)
    assert files.load(file)["a"].tolist() == [0, 1, 2]
    file = io.BytesIO()
    file.write(b"x" * 100)
    files.save({"a": torch.arange(4)}, file)
    file.seek(100)
    assert files.load(file)["a"].tolist() == [0, 1, 2, 3]
    assert loaded(data + b"something behind")["a"].tolist() == [0, 1, 2]


def test_compressed_archives():
    data = saved({"a": torch.arange(1000)})
    packed = rewritten(data, lambda name, record: record, zipfile.ZIP_DEFLATED)
    assert len(packed) < len(data) and loaded(packed)["a"].tolist() == list(range(1000))


def test_every_bit_of_a_file_counts():
    """Each bit flipped in turn: what is loaded is what was saved, or it is an error that names the entry."""
    data = saved({"weight": torch.arange(6.0), "name": "x"})
    refused = 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        try:
            back = loaded(bytes(changed))
            assert back["weight"].tolist() == [0, 1, 2, 3, 4, 5] and back["name"] == "x"
        except CheckpointError:
            refused += 1
    assert refused > 400
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            loaded(data[:length])


def test_errors_name_the_entry_and_the_tensor():
    state = {"model": {"0.weight": torch.zeros(3), "0.bias": torch.full((8,), 1.5)}}
    data = saved(state)
    at = data.index(np.full(8, 1.5, np.float32).tobytes())
    for options in ({}, {"weights_only": False}):
        with pytest.raises(CheckpointError, match=r"data/1 \(tensor model.0.bias\)") as caught:
            loaded(data[:at] + b"\1" + data[at + 1 :], **options)
        assert caught.value.entry == "data/1" and caught.value.tensor == "model.0.bias"
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.entry == "data/1"
    with pytest.raises(RuntimeError):
        loaded(data[:-30])
    with pytest.raises(EOFError):
        loaded(b"")
    with pytest.raises(EmptyCheckpointError):
        loaded(b"")


def test_records_can_be_neither_exchanged_nor_rewritten():
    data = saved({"a": torch.zeros(4), "b": torch.ones(4)})
    swap = {"archive/data/0": "archive/data/1", "archive/data/1": "archive/data/0"}
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    for change, entry in (
        (lambda name, record: contents[swap.get(name, name)], "data/0"),
        (lambda name, record: record.replace(b"X\x01\x00\x00\x00a", b"X\x01\x00\x00\x00c"), "data.pkl"),
        (lambda name, record: b"big" if name.endswith("byteorder") else record, "byteorder"),
    ):
        with pytest.raises(CheckpointError) as caught:
            loaded(rewritten(data, change))
        assert caught.value.entry == entry
    with pytest.raises(CheckpointError):
        loaded(rewritten(data, lambda name, record: record, keep=lambda name: not name.endswith("byteorder")))
    assert loaded(rewritten(data, lambda name, record: record))["b"].tolist() == [1] * 4


def test_files_without_checksums():
    """PyTorch leaves them out after `set_crc32_options(False)`: all are zero then."""
    data = bytearray(rewritten(saved(torch.arange(5.0)), lambda n, r: r, keep=lambda n: "checksums" not in n))
    at = data.index(b"PK\1\2")
    while data[at : at + 4] == b"PK\1\2":
        offset = struct.unpack_from("<I", data, at + 42)[0]
        data[at + 16 : at + 20] = data[offset + 14 : offset + 18] = bytes(4)
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    assert loaded(bytes(data)).tolist() == [0, 1, 2, 3, 4]


def test_set_crc32_options(tmp_path):
    path = tmp_path / "x.pt"
    files.save(torch.full((8,), 1.5), path)
    data = bytearray(path.read_bytes())
    data[data.index(np.full(8, 1.5, np.float32).tobytes())] ^= 1
    path.write_bytes(data)
    for mapped in (False, True):
        with pytest.raises(CheckpointError):
            files.load(path, mmap=mapped)
    files.set_crc32_options(False)
    try:
        assert not files.get_crc32_options()
        assert files.load(path).tolist() != [1.5] * 8 == files.load(path, mmap=True).tolist()[1:] + [1.5]
    finally:
        files.set_crc32_options(True)


def test_a_tensor_that_changes_while_it_is_saved():
    """The checksum is of what is written, not of what the tensor was or becomes."""
    tensor, stop = torch.zeros(3_000_000), threading.Event()

    def change():
        value = 0.0
        while not stop.is_set():
            value += 1
            tensor._a[:] = value

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(5):
            assert loaded(saved(tensor)).shape == (3_000_000,)
    finally:
        stop.set()
        thread.join()


def test_the_reader_takes_no_more_than_the_file_has():
    data = bytearray(saved(torch.zeros(2)))
    end = data.rindex(b"PK\5\6")
    for offset, layout in ((8, "<H"), (10, "<H"), (12, "<I"), (16, "<I")):
        changed = bytearray(data)
        struct.pack_into(layout, changed, end + offset, 0xFFFE)
        with pytest.raises(CheckpointError):
            ArchiveReader(io.BytesIO(changed))


# --- options ---------------------------------------------------------------------------------------------------------


def test_byte_orders():
    def big(name, record):
        return np.frombuffer(record, np.float32).byteswap().tobytes() if "/data/" in name else record

    def lists(name):
        return "checksums" not in name and "byteorder" not in name

    data = rewritten(saved(torch.arange(3.0)), big, keep=lists)
    assert loaded(data).tolist() != [0, 1, 2]
    files.set_default_load_endianness(files.LoadEndianness.BIG)
    try:
        assert files.get_default_load_endianness() is files.LoadEndianness.BIG and loaded(data).tolist() == [0, 1, 2]
    finally:
        files.set_default_load_endianness(None)
    with pytest.raises(TypeError):
        files.set_default_load_endianness("big")


def test_mapped_files(tmp_path):
    path = tmp_path / "x.pt"
    files.save({"a": torch.arange(1000.0)}, path)
    private = files.load(path, mmap=True)["a"]
    private += 1
    assert files.load(path)["a"][0].item() == 0
    with files.set_default_mmap_options(mmap.MAP_SHARED):
        assert files.get_default_mmap_options() == mmap.MAP_SHARED
        shared = files.load(path, mmap=True)["a"]
    assert files.get_default_mmap_options() == mmap.MAP_PRIVATE
    shared[0] = 7.0
    files.set_crc32_options(False)  # who writes into a file writes past its checksums
    try:
        assert files.load(path)["a"][0].item() == 7
    finally:
        files.set_crc32_options(True)
    with pytest.raises(ValueError):
        files.set_default_mmap_options(77)
    files.save({"a": private}, path)  # over the file that it is mapped from
    assert files.load(path)["a"][:2].tolist() == [1, 2]


def test_skip_data():
    with files.skip_data():
        data = saved({"a": torch.ones(5), "n": 3})
    assert (
        loaded(data)["a"].tolist() == [0] * 5
        and loaded(data)["n"] == 3
        and len(data) == len(saved({"a": torch.ones(5), "n": 3}))
    )


def test_places():
    assert files.location_tag(torch.ones(1).untyped_storage()) == "cpu"
    storage = torch.ones(1).untyped_storage()
    assert files.default_restore_location(storage, "cpu") is storage
    with pytest.raises(RuntimeError):
        files.default_restore_location(storage, "cuda:7")
    with pytest.raises(RuntimeError):
        files.validate_cuda_device("cuda:7")
    seen = []
    program = rewritten(
        saved(torch.arange(3)), lambda n, r: r.replace(b"cpu", b"mps"), keep=lambda n: "checksums" not in n
    )
    with pytest.raises(RuntimeError, match="map_location"):
        loaded(program)
    for place in ("cpu", b"cpu", torch.device("cpu"), {"mps": "cpu"}, lambda s, at: seen.append(at) or s):
        assert loaded(program, map_location=place).tolist() == [0, 1, 2]
    assert seen == ["mps"]
    assert loaded(program, map_location=lambda storage, at: storage.cpu()).tolist() == [0, 1, 2]
    from flambeau.serialization import options

    files.register_package(1, lambda storage: None, lambda storage, at: storage if at == "mps" else None)
    try:
        assert loaded(program).tolist() == [0, 1, 2]
    finally:
        options._packages.clear()


def test_storages_are_saved_and_loaded():
    x = torch.arange(4.0)
    view, typed, raw = loaded(
        saved([x[2:], x.storage(), x.untyped_storage()][:2] + [torch.arange(3).untyped_storage()])
    )
    assert view.tolist() == [2, 3] and list(typed) == [0, 1, 2, 3] and typed.dtype is torch.float32
    assert raw.nbytes() == 24 and typed.data_ptr() == view.untyped_storage().data_ptr()
    typed[2] = 9.0
    assert view.tolist() == [9, 3]


def test_helpers(tmp_path):
    class Module:
        __name__, __version__ = "m", "1.10.2"

    assert files.check_module_version_greater_or_equal(Module, (1, 9))
    assert not files.check_module_version_greater_or_equal(Module, (1, 11))
    Module.__version__ = "nonsense"
    with pytest.raises(RuntimeError):
        files.check_module_version_greater_or_equal(Module, (1, 9))
    with pytest.warns(UserWarning):
        assert files.check_module_version_greater_or_equal(Module, (1, 9), error_if_malformed=False)
    with files.mkdtemp() as folder:
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)


# --- names that users allow ------------------------------------------------------------------------------------------


def test_numpy_and_defaultdict_by_permission():
    data = saved({"loss": np.float64(1.5), "array": np.arange(3), "d": defaultdict(list, a=[1])})
    wanted = files.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    assert "collections.defaultdict" in wanted and any("numpy" in name for name in wanted)
    with pytest.raises(CheckpointError, match="add_safe_globals"):
        loaded(data)
    core = np._core.multiarray
    allowed = [core.scalar, core._reconstruct, np.dtype, np.ndarray, type(np.dtype(float)), type(np.dtype(int)),
               defaultdict, list]  # fmt: skip
    with files.safe_globals(allowed):
        back = loaded(data)
    assert back["loss"] == 1.5 and type(back["loss"]) is np.float64 and back["array"].tolist() == [0, 1, 2]
    assert type(back["d"]) is defaultdict and back["d"]["b"] == []


def test_the_environment_can_insist_on_data(monkeypatch):
    data = saved({"d": defaultdict(list)})
    assert type(loaded(data, weights_only=False)["d"]) is defaultdict
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CheckpointError, match="defaultdict"):
        loaded(data, weights_only=False)


# --- leftovers -------------------------------------------------------------------------------------------------------


def test_leftovers_go_and_files_of_others_stay(tmp_path):
    stray = tmp_path / ".flambeau-0123456789abcdef.tmp"
    others = [tmp_path / ".flambeau-012.tmp", tmp_path / "notes.tmp", tmp_path / ".other.pt.tmp"]
    for path in (stray, *others):
        path.write_bytes(b"x")
    files.save(1, tmp_path / "a.pt")
    assert not stray.exists() and all(path.exists() for path in others)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks of files")
def test_a_file_that_is_being_written_is_no_leftover(tmp_path):
    from flambeau.serialization.atomic import atomic_file

    with atomic_file(tmp_path / "a.pt") as one:
        one.write(b"first")
        files.save(2, tmp_path / "b.pt")
        with atomic_file(tmp_path / "a.pt") as two:
            two.write(b"second")
        assert (tmp_path / "a.pt").read_bytes() == b"second"
    assert (tmp_path / "a.pt").read_bytes() == b"first"
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "b.pt"]


def test_what_is_said_when_a_file_cannot_be_written(tmp_path):
    for path in (tmp_path / "no" / "x.pt", tmp_path, "\0"):
        with pytest.raises((SaveError, ValueError)) as caught:
            files.save(1, path)
    assert os.listdir(tmp_path) == []
    assert issubclass(SaveError, OSError) and issubclass(SaveError, RuntimeError)


# --- safetensors -----------------------------------------------------------------------------------------------------


def test_safetensors(tmp_path):
    from flambeau.serialization import safetensors

    path = tmp_path / "w.safetensors"
    weights = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.ones(3, dtype=torch.bfloat16),
        "none": torch.zeros(0, 2),
    }
    safetensors.save_file(weights, path, {"format": "pt"})
    back = safetensors.load_file(path)
    assert all(torch.equal(back[name], t) and back[name].dtype is t.dtype for name, t in weights.items())
    back["a"] += 1
    data = path.read_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 4
        try:
            again = safetensors.load(bytes(changed))
            assert all(torch.equal(again[name], t) for name, t in weights.items()) and again.keys() == weights.keys()
        except CheckpointError:
            pass
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            safetensors.load(data[:length])
