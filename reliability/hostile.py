"""Files made to do harm: pickles that call what they should not, and files that cost more than they weigh."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
import zlib

#: Functions and classes that pickles in the wild, or in papers on them, have been made to call.
CALLED = """
os.system os.popen os.execv os.spawnl os.kill os.remove os.rename os.putenv posix.system posix.popen nt.system
subprocess.Popen subprocess.run subprocess.call subprocess.check_output subprocess.getoutput
_posixsubprocess.fork_exec builtins.eval builtins.exec builtins.compile builtins.open builtins.getattr
builtins.setattr builtins.__import__ builtins.breakpoint builtins.map builtins.filter builtins.apply builtins.input
builtins.globals builtins.vars builtins.bytes builtins.dict builtins.list builtins.tuple builtins.type builtins.object
builtins.print builtins.memoryview __builtin__.eval __builtin__.exec __builtin__.apply __builtin__.execfile
importlib.import_module importlib.reload importlib.machinery.SourceFileLoader imp.load_source pkgutil.resolve_name
runpy.run_path runpy.run_module runpy._run_code code.interact code.InteractiveInterpreter.runcode
codeop.compile_command pty.spawn pdb.run pdb.Pdb bdb.Bdb.run cProfile.run profile.run timeit.timeit timeit.main
trace.Trace.run doctest.debug pydoc.pipepager pydoc.locate webbrowser.open idlelib.pyshell.ModifiedInterpreter.runcode
venv.create ensurepip.bootstrap pip.main pip._internal.main distutils.spawn.spawn setuptools.setup platform.popen
commands.getoutput operator.attrgetter operator.methodcaller operator.itemgetter functools.partial functools.reduce
functools.singledispatch itertools.starmap types.FunctionType types.CodeType types.MethodType types.SimpleNamespace
copyreg.__newobj__ copyreg._reconstructor copy_reg._reconstructor copyreg.add_extension _pickle.loads pickle.loads
pickle.load _pickle.Unpickler marshal.loads shelve.open dill.loads cloudpickle.loads joblib.load socket.socket
socket.create_connection urllib.request.urlopen urllib.request.urlretrieve http.client.HTTPSConnection requests.get
ftplib.FTP smtplib.SMTP asyncio.create_subprocess_shell asyncio.run multiprocessing.Process
multiprocessing.util.spawnv_passfds threading.Thread concurrent.futures.ProcessPoolExecutor signal.raise_signal
shutil.rmtree shutil.move shutil.copyfile tempfile.NamedTemporaryFile pathlib.Path glob.glob io.open io.FileIO
io.open_code _io.FileIO codecs.open codecs.decode codecs.encode linecache.getline fileinput.input zipfile.ZipFile
tarfile.open gzip.open ctypes.CDLL ctypes.pythonapi _ctypes.dlopen cffi.FFI mmap.mmap gc.get_objects gc.collect
sys.exit sys.settrace sys.modules sys.setrecursionlimit sys.addaudithook atexit.register faulthandler._sigsegv
ast.literal_eval inspect.getsource logging.config.fileConfig logging.config.listen unittest.main
xmlrpc.client.ServerProxy sqlite3.connect numpy.load numpy.loadtxt numpy.fromfile numpy.memmap numpy.f2py.compile
numpy.f2py.crackfortran.myeval numpy.testing._private.utils.runstring numpy.testing.rundocs
numpy.distutils.exec_command.exec_command numpy.vectorize numpy.core.multiarray._reconstruct
numpy._core.multiarray._reconstruct numpy.ndarray numpy.dtype numpy._core.multiarray.scalar torch.load torch.save
torch.hub.load torch.hub.load_state_dict_from_url torch.jit.load torch.package.PackageImporter
torch.storage._load_from_bytes torch.serialization.load torch.serialization.add_safe_globals
torch.utils.data.DataLoader torch.utils.cpp_extension.load torch.utils.cpp_extension.load_inline
torch.utils.collect_env.run torch.compile torch._dynamo.optimize torch._inductor.codecache.compile_file
torch.distributed.rpc.init_rpc torch.classes.load_library torch.ops.load_library torch.nn.Module torch.nn.Linear
torch.nn.modules.linear.Linear torch.Generator torch.from_file torch.UntypedStorage.from_file
torch.fx._symbolic_trace.Tracer torch.autograd.Function torch.manual_seed torch.zeros torch.nn.modules.module.Module
torch._utils.os.system torch.os.system torch.serialization.os.system torch._tensor.copy torch.nn.Parameter.__init__
torch.Tensor.__reduce_ex__ torch.Tensor.numpy torch.optim.Adam torch.random.manual_seed flambeau.load
flambeau.serialization.loading.os.system flambeau.hub.load flambeau.serialization.names.importlib
flambeau.run.install_as_torch flambeau.serialization.add_safe_globals flambeau.tensor.tensor.Tensor
collections.defaultdict collections.deque collections.namedtuple collections.UserDict enum.Enum decimal.Decimal
fractions.Fraction datetime.datetime uuid.UUID array.array argparse.Namespace string.Formatter.vformat re.compile
reliability_canary.touch __main__.touch os._wrap_close site.addsitedir zipimport.zipimporter
""".split()


_OD = b"\x80\x02ccollections\nOrderedDict\n)R"
_FLOATS = b"ctorch\nFloatStorage\n"
_TYPED = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n("


def text(value: str) -> bytes:
    """The instruction for a string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


@functools.cache
def programs() -> dict[str, bytes]:
    """Pickles that must be refused, by name: every function of the list, called in every way there is."""
    found = {}
    args = text("touch canary") + b"\x85"
    for name in CALLED:
        module, _, function = name.rpartition(".")
        outer, _, inner = module.rpartition(".")
        line = b"c" + module.encode() + b"\n" + function.encode() + b"\n"
        stacked = text(module) + text(function) + b"\x93"
        ways = {
            "called": b"\x80\x02" + line + args + b"R.",
            "called without arguments": b"\x80\x02" + line + b")R.",
            "called from the stack": b"\x80\x04" + stacked + args + b"R.",
            "made": b"\x80\x02" + line + args + b"\x81.",
            "made with names": b"\x80\x04" + stacked + args + b"}\x92.",
            "instance of old": b"(" + text("x") + b"i" + module.encode() + b"\n" + function.encode() + b"\n.",
            "object of old": b"(" + line + text("x") + b"o.",
            "named": b"\x80\x02" + line + b".",
            "given a state": b"\x80\x02" + line + b"}" + text("a") + b"K\x01sb.",
            "in a dict": b"\x80\x02}" + text("weight") + line + args + b"Rs.",
            "as a rebuilder": _TYPED + line + b"ctorch\nTensor\n" + args + b"}tR.",
            "as a type": _TYPED + b"ctorch._utils\n_rebuild_tensor_v2\n" + line
            + b")}tR.",
            "as a storage": b"\x80\x02(" + text("storage") + line + text("0") + text("cpu") + b"K\x04tQ.",
            "in an OrderedDict's state": _OD + line + b"b.",
        }  # fmt: skip
        if outer:
            ways["by a dotted name"] = b"\x80\x04" + text(outer) + text(inner + "." + function) + b"\x93" + args + b"R."
        found.update({f"{name} {way}": program for way, program in ways.items()})
    return {**found, **_misuses()}


def _misuses() -> dict[str, bytes]:
    """Harmless names used for harm."""
    rebuild = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
    storage = b"(" + text("storage") + _FLOATS + text("0") + text("cpu") + b"K\x04tQ"
    inner = pickle.dumps({"a": 1})
    return {
        "a state for a class": b"\x80\x02ctorch\nTensor\n}" + text("numpy") + b"Nsb.",
        "a state for a function": rebuild + b"N}" + text("__defaults__") + b"N\x86sb.",
        "a state for a tensor": rebuild + b"(" + storage + b"K\x00K\x04\x85K\x01\x85\x89}tR}" + text("_a") + b"Nsb.",
        "a state for a dtype": b"\x80\x02ctorch\nfloat32\n}" + text("numpy") + b"Nsb.",
        "a state for a storage": b"\x80\x02" + storage + b"}" + text("bytes") + b"Nsb.",
        "a class of an OrderedDict": _OD + b"}" + text("__class__") + b"ctorch\nTensor\nsb.",
        "slots of an OrderedDict": _OD + b"N}" + text("keys") + b"Ns\x86b.",
        "a tensor from nowhere": rebuild + b"(NK\x00K\x04\x85K\x01\x85\x89}tR.",
        "a tensor outside of its storage": rebuild + b"(" + storage + b"J\xff\xff\xff\x7fK\x04\x85K\x01\x85\x89}tR.",
        "a tensor before its storage": rebuild + b"(" + storage + b"J\xff\xff\xff\xffK\x04\x85K\x01\x85\x89}tR.",
        "a storage of negative size": b"\x80\x02(" + text("storage") + _FLOATS + text("0") + text("cpu")
        + b"J\xff\xff\xff\xfftQ.",
        "a storage in another folder": b"\x80\x02(" + text("storage") + _FLOATS + text("../../0")
        + text("cpu") + b"K\x04tQ.",
        "a storage named by bytes": b"\x80\x02(" + text("storage") + _FLOATS + b"N" + text("cpu")
        + b"K\x04tQ.",
        "a module of old": b"\x80\x02(" + text("module") + b"ctorch\nTensor\n" + text("/etc/passwd") + b"NtQ.",
        "a codec that decodes": b"\x80\x02c_codecs\ndecode\n" + text("a") + text("hex") + b"\x86R.",
        "a codec that unpacks": b"\x80\x02c_codecs\nencode\n" + text("a") + text("zlib") + b"\x86R.",
        "an extension": b"\x80\x02\x82\x01.",
        "a buffer from outside": b"\x80\x05\x97.",
        "a protocol of the future": b"\x80\x09N.",
        "a pickle in a pickle": b"\x80\x02c_pickle\nloads\nB" + struct.pack("<I", len(inner)) + inner + b"\x85R.",
        "a class that is text": b"\x80\x02" + text("os") + b")\x81.",
        "a function that is text": b"\x80\x02" + text("os.system") + text("true") + b"\x85R.",
        "a global that is no text": b"\x80\x04K\x01K\x02\x93.",
        "an endless line": b"\x80\x02c" + b"a" * 100_000,
        "a Tensor made": b"\x80\x02ctorch\nTensor\n(K\x01J\xff\xff\xff\x7ftR.",
        "a Size of text": b"\x80\x02ctorch\nSize\n" + text("ab") + b"\x85R.",
        "a device of nothing": b"\x80\x02ctorch\ndevice\n" + text("toaster") + b"\x85R.",
    }  # fmt: skip


def archive(program: bytes, records: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with this pickle and one storage of four floats."""
    file = io.BytesIO()
    contents = {"data.pkl": program, "byteorder": b"little", "data/0": bytes(16), "version": b"3\n", **(records or {})}
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, data in contents.items():
            packed.writestr(f"archive/{name}", data)
    return file.getvalue()


# --- traps -----------------------------------------------------------------------------------------------------------


def _integer(n: int) -> bytes:
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _nested_key(levels: int) -> bytes:
    """A key whose hash takes 2**levels steps: a pair of twice the same pair of twice the same ..."""
    return b"\x80\x02}" + b"K\x01" + b"".join(b"q\x01h\x01\x86" for _ in range(levels)) + b"Ns."


def _copies(count: int) -> bytes:
    """A list of 100,000 numbers, and as many sets of it as fit."""
    items = b"](" + b"".join(b"M" + struct.pack("<H", i % 65536) for i in range(100_000)) + b"e"
    return b"\x80\x02" + items + b"q\x01(" + b"cbuiltins\nset\nh\x01\x85R" * count + b"l."


def _alike(count: int) -> bytes:
    """Numbers that all have one hash."""
    return b"\x80\x02}(" + b"".join(_integer(n * (2**61 - 1)) + b"N" for n in range(1, count)) + b"u."


def _complex_keys(count: int) -> bytes:
    each = (
        b"cbuiltins\ncomplex\nG" + struct.pack(">d", -1000003.0 * n) + b"G" + struct.pack(">d", float(n)) + b"\x86RN"
        for n in range(count)
    )
    return b"\x80\x02}(" + b"".join(each) + b"u."


def _bomb(name: str, size: int, claim: int = 4) -> bytes:
    """An archive in which a record of zeros unpacks to `size` bytes; its pickle wants a storage of `claim` floats."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    stream = b"".join(packer.compress(piece) for _ in range(min(size, 128 << 20) >> 20)) + packer.flush()
    packed = bytearray(archive(_claims(claim), {name: stream}))
    at = packed.rfind(b"PK\1\2", 0, packed.rfind(f"archive/{name}".encode()))
    struct.pack_into("<H", packed, at + 10, 8)
    struct.pack_into("<I", packed, at + 24, min(size, 0xFFFFFFFE))
    offset = struct.unpack_from("<I", packed, at + 42)[0]
    struct.pack_into("<H", packed, offset + 8, 8)
    return bytes(packed)


def _overlapping(count: int) -> bytes:
    """Many entries on the same bytes: the quadratic kind of zip bomb."""
    data = archive(_claims(1 << 18), {f"data/{i}": b"" for i in range(1, count)} | {"data/x": bytes(1 << 20)})
    changed = bytearray(data)
    end = data.rfind(b"PK\5\6")
    at = struct.unpack_from("<I", data, end + 16)[0]
    entries = []
    while data[at : at + 4] == b"PK\1\2":
        entries.append(at)
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    for entry in entries[5:]:
        changed[entry + 16 : entry + 28] = data[entries[-1] + 16 : entries[-1] + 28]
        changed[entry + 42 : entry + 46] = data[entries[-1] + 42 : entries[-1] + 46]
    return bytes(changed)


def _claims(size: int) -> bytes:
    rebuild = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
    storage = text("storage") + _FLOATS + text("0") + text("cpu") + _integer(size) + b"tQ"
    return rebuild + storage + b"K\x00" + _integer(size) + b"\x85K\x01\x85\x89}tR."


def _older(tail: bytes) -> bytes:
    head = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + tail


@functools.cache
def traps() -> dict[str, bytes]:
    """Whole files that would take forever, or all memory, or the stack, of a reader that believes them."""
    storage = text("storage") + b"ctorch\nFloatStorage\n"
    return {
        "a key that takes forever to hash": archive(_nested_key(200)),
        "a key too deep to hash": archive(_nested_key(50_000)),
        "a set of keys that take forever": archive(b"\x80\x02cbuiltins\nset\n](" + _nested_key(100)[3:-3] + b"e\x85R."),
        "numbers that all have one hash": archive(_alike(5_000)),
        "complex numbers of one hash": archive(_complex_keys(5_000)),
        "the same data copied over and over": archive(_copies(5_000)),
        "a text that says it is 4 GB": archive(b"\x80\x02X\xff\xff\xff\xffabc."),
        "a text that says it is 2**63 bytes": archive(b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc."),
        "bytes that say they are 2**64 - 1": archive(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff."),
        "a bytearray of a size": archive(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        "a number of 2 GB": archive(b"\x80\x02\x8b\xff\xff\xff\x7f\x01."),
        "a number of a million digits": archive(b"\x80\x02I" + b"9" * 1_000_000 + b"\n."),
        "a frame of 2**63 bytes": archive(b"\x80\x04\x95" + struct.pack("<Q", 2**63) + text("a") + b"0"),
        "lists in lists, 50,000 deep": archive(b"\x80\x02" + b"](" * 50_000 + b"e" * 50_000 + b"0"),
        "tuples in tuples, 50,000 deep": archive(b"\x80\x02)" + b"\x85" * 50_000 + b"}Q."),
        "a memory of strange numbers": archive(b"\x80\x02Nr\xff\xff\xff\xffh\x01."),
        "marks without end": archive(b"\x80\x02" + b"(" * 50_000),
        "a storage of 2**60 numbers": archive(_claims(2**60)),
        "a storage of 2**63 numbers": archive(_claims(2**63)),
        "a record that unpacks to 4 GB": _bomb("data/0", 4 << 30),
        "a record that unpacks to the 4 GB that are wanted": _bomb("data/0", (4 << 30) - 4, (1 << 30) - 1),
        "a record that unpacks to the 256 MB that are wanted": _bomb("data/0", 256 << 20, 64 << 20),
        "a pickle that unpacks to 4 GB": _bomb("data.pkl", 4 << 30),
        "a pickle that unpacks to 256 MB": _bomb("data.pkl", 256 << 20),
        "a thousand records in one place": _overlapping(1000),
        "older: a storage of 2**60 numbers": _older(b"\x80\x02(" + storage + text("0") + text("cpu") + _integer(2**60)
                                                    + b"NtQ." + pickle.dumps(["0"], 2)),
        "older: a thousand storages as long as the file": _older(
            b"\x80\x02(" + b"".join(b"(" + storage + text(str(i)) + text("cpu") + b"J" + struct.pack("<i", 20_000)
                                    + b"NtQ" for i in range(1000)) + b"l." + pickle.dumps([], 2)),
        "older: a text that says it is 4 GB": _older(b"\x80\x02X\xff\xff\xff\xffabc."),
        "older: os.system": _older(b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R."),
        "older: a program in front": b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R.",
        "a zip with nothing in it": b"PK\3\4" + b"PK\5\6" + bytes(18),
        "a TorchScript program": archive(b"\x80\x02N.", {"constants.pkl": b"\x80\x02N."}),
        "nothing": b"",
        "a page of the web": b"<!doctype html><html><body>404 not found</body></html>",
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
    }  # fmt: skip
