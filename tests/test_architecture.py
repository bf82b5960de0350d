"""The project's shape, held by tests: imports go one way, ops are complete, files small, start-up light."""

import ast
import json
import subprocess
import sys

import pytest

from tests.programs import ROOT, environment

PACKAGE = ROOT / "src" / "flambeau"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A module may import its own room and those of lower numbers; what is not named here is the public
# surface (`__init__`, `run`, `cli`, `cuda`, `testing`, ...), which may know everything.
ROOMS = {
    "version": 0, "errors": 0, "_utils": 0, "dtypes": 0, "devices": 0, "random": 0, "pytree": 0,
    "engines": 1, "autograd": 2, "ops": 3, "tensor": 4, "distributed": 4, "nn": 5, "optim": 6, "distributions": 6,
    "func": 6, "serialization": 7, "hub": 7, "utils": 7, "fx": 7, "vision": 8, "compiled": 8, "export": 8,
}  # fmt: skip
SURFACE = 9


# PyTorch has these in the namespace of autograd; they are made of what stands above it.
OUTER = {"autograd/forward_ad.py": "func", "autograd/functional.py": "func", "autograd/gradcheck.py": "func",
         "distributed/fsdp/sharded_grad_scaler.py": "amp"}
# Likewise below distributed, which modules stand on.
OUTER_FOLDERS = dict.fromkeys(
    ("distributed/fsdp/", "distributed/tensor/parallel/", "distributed/checkpoint/", "distributed/_composable/",
     "distributed/algorithms/_checkpoint/", "distributed/optim/"), "utils")  # fmt: skip


def room(path):
    inside = path.relative_to(PACKAGE).as_posix()
    if inside in OUTER:
        return OUTER[inside]
    for folder, home in OUTER_FOLDERS.items():
        if inside.startswith(folder):
            return home
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def typing_only(tree):
    """Lines inside ``if TYPE_CHECKING:``, which import nothing when the program runs."""
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


def imports(path):
    """Line and full name of everything that a file imports, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = typing_only(tree)
    package = ["flambeau", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{prefix}.{alias.name}"


def test_imports_go_one_way():
    wrong = []
    for path in FILES:
        mine = ROOMS.get(room(path), SURFACE)
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != "flambeau" or len(parts) < 2:
                continue
            if name.startswith("flambeau.tensor.size."):  # a tuple with a name: it knows nothing of tensors
                continue
            theirs = ROOMS.get(parts[1], SURFACE if (PACKAGE / parts[1]).exists() or mine < SURFACE else 0)
            if theirs > mine:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "imports go up:\n" + "\n".join(wrong)


def test_no_package_file_imports_torch():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        for line, name in imports(path)
        if name.split(".")[0] in ("torch", "torchvision")
    ]
    assert not wrong, wrong


def test_files_stay_small():
    rooms = ("tests", "bench", "conformance", "reliability")
    places = [*FILES, *(p for room in rooms for p in (ROOT / room).rglob("*.py"))]
    long = {str(p.relative_to(ROOT)): n for p in places if (n := p.read_text(encoding="utf-8").count("\n")) > 600}
    assert not long, long


def test_functions_stay_short():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                if lines > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_no_loose_ends():
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = []
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if any(mark in line for mark in marks):
                found.append(f"{path.relative_to(ROOT)}:{number} {line.strip()}")
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def loaded():
    """Names of the modules that a bare ``import flambeau`` brings in."""
    code = "import sys, json, flambeau; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    return json.loads(out.stdout)


@pytest.mark.parametrize("library", ["jax", "scipy", "torch", "safetensors", "rich", "pandas", "matplotlib"])
def test_import_is_light(loaded, library):
    assert [name for name in loaded if name.split(".")[0] == library] == []


def operations():
    """Every declared op, by name, once all families are loaded."""
    import importlib

    import flambeau  # noqa: F401 - declares what programs see at once

    for path in sorted((PACKAGE / "ops").rglob("*.py")):
        if path.stem != "__init__":
            importlib.import_module(".".join(("flambeau", *path.relative_to(PACKAGE).with_suffix("").parts)))
    from flambeau.ops.core import REGISTRY

    return REGISTRY


def test_every_op_has_its_derivative_or_says_that_it_has_none():
    wrong = []
    for name, op in operations().items():
        if not op.differentiable:
            continue
        missing = [t for t in op.tensors if t not in op.rule_of]
        if missing:
            wrong.append(f"{name}: no derivative for {', '.join(missing)}")
    assert not wrong, "\n".join(wrong)


def test_every_op_has_its_row_in_the_table():
    from tests import op_table

    # compared bit for bit in test_random and test_distributions
    drawn = ("flambeau.ops.random_ops", "flambeau.ops.dropout", "flambeau.ops.implicit")
    deterministic = (name for name, op in operations().items() if op.compute.__module__ not in drawn)
    missing = sorted(name for name in deterministic if name not in op_table.COVERED)
    assert not missing, f"{len(missing)} ops without a row: {', '.join(missing)}"
