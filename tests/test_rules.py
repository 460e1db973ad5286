"""Rules for all files: pins, imports, sizes, and security."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = [*ROOT.glob("cnn_arch/**/*.py"), *ROOT.glob("configs/**/*.py")]
SOURCES = [*ROOT.glob("*.py"), *LIBRARY]
ALL_CODE = [*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")]
PINS = {path.stem: path for path in sorted(ROOT.glob("requirements*.txt"))}
EXTRAS = [name.removeprefix("requirements").removeprefix("-") for name in PINS]


def read_pins(extra: str) -> list[str]:
    """Returns the lines of an extra's requirements, without comments and includes."""
    path = PINS[f"requirements-{extra}" if extra else "requirements"]
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [line for line in lines if line and not line.startswith("-r ")]


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("extra", EXTRAS)
def test_requirements_are_pinned_and_name_no_host(extra):
    pin = re.compile(r'[\w.-]+(\[\w+\])?==[\w.]+(; [a-z_]+ (<|>=|[!=]=) "[\w.]+")?')
    for line in read_pins(extra):
        assert pin.fullmatch(line), line


def test_cuda_has_the_same_jax():
    jax = [line for line in read_pins("") if line.startswith("jax==")]
    assert read_pins("cuda") == [line.replace("jax", "jax[cuda]", 1) for line in jax]


def declared(extra: str) -> list[Requirement]:
    """Returns the requirements of an extra in pyproject.toml; "" is no extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return [Requirement(line) for line in lists[extra]]


@pytest.mark.parametrize("extra", EXTRAS)
def test_requirements_pin_the_declared_packages(extra):
    """Each declared package is pinned within its range; jaxlib comes with jax."""
    wanted = {
        canonicalize_name(each.name): each
        for each in declared(extra)
        if each.name != "cnn_arch"  # an extra that includes another
    }
    pins = [pin for pin in map(Requirement, read_pins(extra)) if pin.name != "jaxlib"]
    assert {canonicalize_name(pin.name) for pin in pins} == set(wanted)
    for pin in pins:
        (version,) = (each.version for each in pin.specifier)
        declaration = wanted[canonicalize_name(pin.name)]
        assert version in declaration.specifier, pin
        assert pin.extras == declaration.extras


def imported_modules(path: Path) -> set[str]:
    """Returns the top-level names that a file imports, inside functions too."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_every_imported_package_is_a_requirement():
    required = {
        canonicalize_name(pin.name)
        for extra in ("", "onnx")
        for pin in map(Requirement, read_pins(extra))
    }
    own = {"cnn_arch", "configs"} | {path.stem for path in ROOT.glob("*.py")}
    distributions = packages_distributions()
    for path in SOURCES:
        for module in imported_modules(path) - sys.stdlib_module_names - own:
            names = set(map(canonicalize_name, distributions.get(module, [])))
            assert names & required, f"{path.relative_to(ROOT)} imports {module}"


def test_configs_import_only_configs_and_ml_collections():
    for path in ROOT.glob("configs/**/*.py"):
        others = imported_modules(path) - sys.stdlib_module_names
        assert others <= {"configs", "ml_collections"}, path


def test_no_package_imports_one_above_it():
    """pyproject.toml has the order of the packages."""
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml")) == 0


def test_no_package_is_an_eighth_of_the_code():
    lines: Counter[str] = Counter()
    for path in ROOT.glob("cnn_arch/**/*.py"):
        own = path.read_text().count("\n")
        lines[path.relative_to(ROOT / "cnn_arch").parts[0]] += own
    assert max(lines.values()) <= 0.12 * lines.total(), lines.most_common(1)


def test_only_processes_py_asks_jax_which_process_it_is():
    """JAX opens its devices to answer, perhaps before their flags are set."""
    asks = re.compile(r"jax\.process_(index|count)")
    found = [path for path in SOURCES if asks.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "cnn_arch" / "parallel" / "processes.py"]


def test_no_file_is_over_300_lines():
    for path in ALL_CODE:
        assert path.read_text(encoding="utf-8").count("\n") <= 300, path


def test_functions_fit_on_a_screen():
    """At most 45 lines below the docstring, 50 in ``main``."""
    for path in ALL_CODE:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in nodes(path):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if "# noqa: PLR0915 - " in lines[node.lineno - 1]:
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= (50 if node.name == "main" else 45), (path, node.name)


def test_no_literal_is_unpacked():
    """Instead of a call like ``Box(*(a, b))``, name the arguments."""
    for path in ALL_CODE:
        for node in nodes(path):
            if isinstance(node, ast.Starred):
                literal = isinstance(node.value, ast.Tuple | ast.List | ast.Set)
                assert not literal, f"{path}:{node.lineno}"


def test_no_archive_of_arrays_is_unpickled():
    for path in SOURCES:
        for node in nodes(path):
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
def test_lint_refuses(code, line):
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
