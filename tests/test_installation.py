"""The wheel, installed in a folder without a checkout."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from cnn_arch import __version__, installation
from cnn_arch.errors import UsageError
from tests.commands import ROOT, environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT
    subprocess.run([sys.executable, *map(str, build)], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python code in an empty folder, with the package of the wheel."""
    site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    shutil.unpack_archive(wheel, site, "zip")
    variables = environment() | {"PYTHONPATH": str(site)}

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", *map(str, words)],
            cwd=empty,
            env=variables,
            capture_output=True,
            text=True,
        )

    return run


MAIN = "from cnn_arch.cli import main; main()"  # what the script cnn-arch calls


def test_the_wheel_has_only_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    assert {name.partition("/")[0] for name in files} == {
        "cnn_arch",
        f"cnn_arch-{__version__}.dist-info",
    }
    for name in installation.recipes():
        assert f"cnn_arch/checkout/configs/{name}.py" in files
    assert "cnn_arch/report/templates/style.css" in files


def test_the_library_works_without_a_checkout(installed):
    code = """
import jax, cnn_arch
from cnn_arch.costs.layers import layer_costs
from cnn_arch.lectures.show import verdicts
from cnn_arch.models import create_model, init_variables
from cnn_arch.weights.torchvision import from_torchvision, to_torchvision
assert "site" in cnn_arch.__file__
model = create_model("resnet18", 10)
print(sum(row.params for row in layer_costs(model, 224, 3)))
variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 32, 3))
zeros = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape), variables)
there = to_torchvision("resnet18", zeros)
back = from_torchvision("resnet18", there)
assert jax.tree.map(lambda leaf: leaf.shape, back) == jax.tree.map(
    lambda leaf: leaf.shape, zeros)
print(next(iter(verdicts()))["verdict"])
"""
    result = installed(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["11181642", "wrong"]


@pytest.mark.slow
def test_the_commands_work_by_their_names(installed):
    shown = installed(MAIN, "analyze", "--model=lenet5", "--fold").stdout
    assert "60,850" in shown
    assert "Next:    cnn-arch analyze --model=lenet5 --roofline=a100" in shown
    shown = installed(MAIN, "--version").stdout
    assert shown == f"cnn_arch {__version__}\n"
    for name in installation.COMMANDS:
        shown = installed(MAIN, name, "--help").stdout
        assert shown.startswith(f"usage: cnn-arch {name} ")
        assert "  cnn-arch " in shown.partition("examples:")[2]
        assert ".py" not in shown.partition("examples:")[2].partition("\n\n")[0]
    result = installed(MAIN, "fly")
    assert result.returncode == 2
    assert result.stderr == (
        "error: fly: no such command; there are prepare, train, eval, analyze, sweep, "
        "experiment\n"
    )


def test_the_doctor_reads_the_requirements_of_the_wheel(installed):
    shown = installed("from cnn_arch.doctor import main; main()").stdout
    assert re.search(r"^packages ok   \d\d as required$", shown, re.MULTILINE)


def test_extras_are_installed_by_the_printed_line(installed):
    for extra in ("cuda", "onnx"):
        *_, file = installation.install_extra(extra).split()
        assert (ROOT / file).exists()
    code = """
from importlib.metadata import metadata
from cnn_arch.installation import install_extra
for extra in "cuda", "onnx":
    assert install_extra(extra) == f'pip install "cnn_arch[{extra}]"'
    assert extra in metadata("cnn_arch").get_all("Provides-Extra")
"""
    assert installed(code).returncode == 0


@pytest.mark.slow
def test_recipes_work_by_name_and_by_file(installed, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "from configs import base, lenet5\n"
        "def get_config(data='mnist5k'):\n"
        "    config = lenet5.get_config(data)\n"
        "    config.epochs = 0.05\n"
        "    return config\n"
    )
    workdir = f"--workdir={tmp_path / 'run'}"
    result = installed(MAIN, "train", f"--config={recipe}", workdir)
    assert result.returncode == 0, result.stderr
    shown = result.stdout.partition("Next:")[2]
    assert f"cnn-arch eval {workdir} --config={recipe} --split=validation" in shown
    result = installed(MAIN, "train", "--config=lenet55")
    assert result.returncode == 2
    assert result.stderr == (
        "error: --config=lenet55: no such file; did you mean lenet5?\n"
    )


def test_a_printed_command_can_be_pasted_whatever_its_words_are():
    words = ["--workdir=a\nb'c\\d\x1b\udcff", "x y", "\u202e衣服", "\x01f0"]
    line = installation.command("eval", *words)
    assert line.isprintable()
    shell = ["bash", "-c", line.replace("python eval.py", "printf '%s\\0'")]
    shown = subprocess.run(shell, check=True, capture_output=True).stdout
    assert shown.split(b"\0")[:-1] == [os.fsencode(word) for word in words]


def test_recipes_and_sweeps_are_found_by_name():
    configs = ROOT / "configs"
    assert "resnet34" in installation.recipes()
    assert installation.find_recipe("resnet34") == configs / "resnet34.py"
    assert installation.find_sweep("lr_wd") == configs / "sweeps" / "lr_wd.py"
    with pytest.raises(UsageError, match=r"^--sweep=lr_dw: no such file; did you mean"):
        installation.find_sweep("lr_dw")
    with pytest.raises(UsageError, match="there are alexnet, alexnet_one_tower"):
        installation.find_recipe("transformer")


@pytest.mark.slow
def test_pip_installs_it_from_git(tmp_path):
    """Makes a new environment, gets packages from the registry, and trains."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    pip = tmp_path / "env/bin/python", "-m", "pip", "install", "-q"
    subprocess.run([*pip, f"git+file://{ROOT}"], check=True)
    words = "train", "--config=lenet5", "--config.epochs=0.1", "--workdir=run"
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run([tmp_path / "env/bin/cnn-arch", *words], cwd=empty, check=True)
    assert (empty / "run" / "README.md").exists()
