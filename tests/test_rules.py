"""The rules that no single module can break unseen: pins, imports, and security."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    [
        *ROOT.glob("*.py"),
        *ROOT.glob("configs/**/*.py"),
        *ROOT.glob("cnn_arch/**/*.py"),
    ]
)
ALL_CODE = [*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")]


def read_pins(name: str) -> list[str]:
    """Lists the requirement lines of a file, without comments and includes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [line for line in lines if line and not line.startswith("-r ")]


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(ROOT.glob("requirements*.txt"))]
)
def test_requirements_are_pinned_and_name_no_host(name: str) -> None:
    pin = re.compile(r'[\w.-]+(\[\w+\])?==[\w.]+(; [a-z_]+ (<|>=|!=) "[\w.]+")?')
    for line in read_pins(name):
        assert pin.fullmatch(line), line


def test_cuda_has_the_same_jax() -> None:
    jax = [line for line in read_pins("requirements.txt") if line.startswith("jax==")]
    cuda = [line.replace("jax", "jax[cuda]", 1) for line in jax]
    assert read_pins("requirements-cuda.txt") == cuda


def declared() -> dict[str, list[Requirement]]:
    """Lists what pyproject.toml declares, by extra; "" is what everything needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: list(map(Requirement, lines)) for extra, lines in lists.items()}


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ("", "requirements.txt"),
        ("cuda", "requirements-cuda.txt"),
        ("onnx", "requirements-onnx.txt"),
        ("dev", "requirements-dev.txt"),
    ],
)
def test_requirements_pin_what_is_declared(extra: str, name: str) -> None:
    """Each declared package is pinned within its range; jaxlib comes with jax."""
    wanted = {
        canonicalize_name(each.name): each
        for each in declared()[extra]
        if each.name != "cnn_arch"  # an extra that takes in another
    }
    pins = [pin for pin in map(Requirement, read_pins(name)) if pin.name != "jaxlib"]
    assert {canonicalize_name(pin.name) for pin in pins} == set(wanted)
    for pin in pins:
        (version,) = (each.version for each in pin.specifier)
        declaration = wanted[canonicalize_name(pin.name)]
        assert version in declaration.specifier, pin
        assert pin.extras == declaration.extras


def imported_modules(path: Path) -> set[str]:
    """Collects the top-level names that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_every_imported_package_is_a_requirement() -> None:
    required = {
        re.split(r"[=\[]", line)[0].lower().replace("_", "-")
        for name in ("requirements.txt", "requirements-onnx.txt")
        for line in read_pins(name)
    }
    own = {"cnn_arch", "configs"} | {path.stem for path in ROOT.glob("*.py")}
    own |= {"torch"}  # reads .pth files where a user has it
    distributions = packages_distributions()
    for path in SOURCES:
        for module in imported_modules(path) - set(sys.stdlib_module_names) - own:
            names = {
                name.lower().replace("_", "-") for name in distributions.get(module, [])
            }
            assert names & required, f"{path.relative_to(ROOT)} imports {module}"


def test_configs_import_nothing_of_ours_but_configs() -> None:
    for path in ROOT.glob("configs/**/*.py"):
        assert imported_modules(path) & {"cnn_arch", "tests"} == set(), path
        others = imported_modules(path) - set(sys.stdlib_module_names)
        assert others <= {"configs", "ml_collections"}, path


def test_no_package_imports_one_above_it() -> None:
    """The order of the packages is written down in pyproject.toml."""
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml")) == 0


def test_no_package_is_an_eighth_of_the_code() -> None:
    lines: Counter[str] = Counter()
    for path in ROOT.glob("cnn_arch/**/*.py"):
        own = path.read_text().count("\n")
        assert own <= 300, path
        lines[path.relative_to(ROOT / "cnn_arch").parts[0]] += own
    assert max(lines.values()) <= 0.12 * lines.total(), lines.most_common(1)


def test_functions_fit_on_a_screen() -> None:
    """At most 45 lines below the docstring, 50 in a command's story (``main``)."""
    for path in ALL_CODE:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if "# noqa: PLR0915 - " in text.splitlines()[node.lineno - 1]:
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= (50 if node.name == "main" else 45), (path, node.name)


def test_no_literal_is_unpacked() -> None:
    """Instead of a call like ``Box(*(a, b))``, name the arguments."""
    for path in ALL_CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Starred):
                literal = isinstance(node.value, ast.Tuple | ast.List | ast.Set)
                assert not literal, f"{path}:{node.lineno}"


def test_no_archive_of_arrays_is_unpickled() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                value = ast.unparse(node.value)
                assert value == "False", f"{path}:{node.value.lineno}"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("TID251", "import pickle"),
        ("TID251", "from joblib import load"),
        ("TID251", "import flax.linen as nn"),
        ("TID251", "from flax import linen as nn"),
        ("TID252", "from . import step"),
        ("S102", "exec(text)"),
        ("S202", "archive.extractall()"),
        ("S301", "pickle.loads(text)"),
        ("S307", "eval(text)"),
        ("S506", "yaml.load(text)"),
        ("S602", "subprocess.run(text, shell=True)"),
        ("S605", "os.system(text)"),
    ],
)
def test_lint_refuses(code: str, line: str) -> None:
    imports = "import os, pickle, subprocess, tarfile, yaml\narchive = tarfile.open()\n"
    words = "-m ruff check --no-cache --output-format concise --stdin-filename"
    words += " cnn_arch/training/sample.py -"
    result = subprocess.run(
        [sys.executable, *words.split()],
        input=f"{imports}{line}\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "sample.py:3:" in result.stdout and f" {code} " in result.stdout
