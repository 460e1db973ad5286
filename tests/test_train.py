"""train.py as a user runs it: real processes, real files, real kills."""

import json
import shlex
import shutil
import subprocess
import sys

import jax
import pytest

from tests.commands import (
    ROOT,
    call,
    error_line,
    run,
)
from tests.models.conftest import KINDS
from tests.runs import assert_same_run, rows


def test_what_a_run_leaves(finished, network):
    workdir, shown = finished
    names = """
        README.md report.html config.json environment.txt log.txt
        metrics.csv steps.csv classes.json split.csv weights_best.npz
        plots/train_batch.jpg plots/curves.png plots/confusion.png
        plots/filters_conv1.png plots/top_losses.jpg
        eval/results.json eval/predictions_test.csv checkpoints/best
    """
    for name in names.split():
        assert (workdir / name).exists(), name
    assert list(workdir.glob("events.out.tfevents*"))
    names = json.loads((workdir / "classes.json").read_text())
    assert names == ["blue", "green", "red"]
    # 120 training images, of which 12 validate: 13 batches of 8 in an epoch.
    assert [row["step"] for row in rows(workdir / "metrics.csv")] == ["13", "26", "39"]
    assert len(rows(workdir / "steps.csv")) == 39
    assert len(rows(workdir / "split.csv")) == 147
    results = json.loads((workdir / "eval" / "results.json").read_text())
    assert "test" in results  # other tests add splits
    assert results["test"]["num_examples"] == 27
    if network == "resnet20":
        assert results["test"]["top1_error"] < 10
    else:  # the protocol of LeNet-5's paper is another test
        by_paper = results["test_whole"]
        assert by_paper["scales"] == [32] and results["test"]["scales"] == [37]
        assert by_paper["checkpoint_step"] == results["test"]["checkpoint_step"]
        assert "each used once; whole)" in shown
    assert "train 108  val 12  test 27; 3 classes" in shown
    assert f"python eval.py --workdir={workdir}" in shown


@pytest.mark.slow  # ten minutes
@pytest.mark.parametrize("name", [*KINDS, "kernel_stacks", "inception_cifar"])
def test_every_kind_of_network_trains(name, photos, tmp_path):
    words = f"--config=configs/{name}.py:folder", f"--config.data.dir={photos}"
    short = "--config.steps=1", "--config.batch_size=4", "--config.test.protocol=none"
    result = run("train.py", *words, *short, f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert len(rows(tmp_path / "run" / "steps.csv")) == 1


@pytest.mark.slow
def test_the_next_commands_can_be_pasted(finished, photos):
    _, shown = finished
    commands = shown.partition("Next:")[2].strip().splitlines()
    assert len(commands) == 2
    for line in commands:
        program, *words = shlex.split(line)[1:]
        picture = str(photos / "test" / "red" / "0.png")
        words = [word.replace("my_picture.jpg", picture) for word in words]
        result = call(program, *words)
        assert result.returncode == 0, result.stderr
        assert "Next:    python eval.py" in result.stdout


def test_a_finished_run_says_so_and_compiles_nothing(finished, recipe, monkeypatch):
    workdir, _ = finished
    before = (workdir / "metrics.csv").read_bytes()
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)
    result = call("train.py", *recipe(), f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout and "compile" not in result.stdout
    assert "% val top-1 at epoch" in result.stdout  # its result
    assert "test  " in result.stdout
    assert (workdir / "metrics.csv").read_bytes() == before


def test_a_run_continues_with_its_data_at_another_path(
    finished, recipe, photos, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir, symlinks=True)
    shutil.copytree(photos, tmp_path / "moved")
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [word for word in recipe() if "data.dir" not in word]
    words += "--data_dir=~/moved/", "--workdir=~/run"
    result = call("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"changed  data.dir={tmp_path}/moved/, before {photos}" in result.stdout
    assert "finished" in result.stdout
    # An image that has changed is named.
    path = tmp_path / "moved" / "test" / "red" / "3.png"
    path.write_bytes(path.with_name("4.png").read_bytes())
    line = error_line(call("train.py", *words))
    assert f"{path}: has changed since the run began; put it back, or add" in line
    result = call("eval.py", f"--workdir={workdir}", "--json")
    assert json.loads(result.stdout)["test"]["num_examples"] == 26
    assert f"{path} is the first" in result.stderr


@pytest.mark.slow
def test_a_profile_names_the_layers_and_ends(recipe, tmp_path):
    result = run("train.py", *recipe(), f"--profile={tmp_path / 'profile'}")
    assert result.returncode == 0, result.stderr
    operations = rows(tmp_path / "profile" / "operations.csv")
    assert {row["pass"] for row in operations} == {"forward", "backward", ""}
    costliest = operations[0]
    assert costliest["layer"][:24] in result.stdout
    spent = [float(row["milliseconds_a_step"]) for row in operations]
    assert spent == sorted(spent, reverse=True)


@pytest.mark.slow
def test_learning_rates_are_tested_from_a_starting_point(finished, recipe, tmp_path):
    """The next command has the suggestion and the starting point."""
    workdir, _ = finished
    path = tmp_path / "curve.png"
    words = *recipe(), f"--init_from={workdir}", f"--find_lr={path}"
    result = run("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert "arrays" in result.stdout.partition("start ")[2].splitlines()[0]
    assert path.read_bytes().startswith(b"\x89PNG")
    suggested = result.stdout.partition("find lr")[2].partition(",")[0].strip()
    after = result.stdout.partition("Next:")[2]
    if suggested:
        assert f"--config.optim.learning_rate={suggested}\n" in after
        assert f"--config.init_from={workdir} " in after
    else:
        assert "none is suggested" in result.stderr and not after


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(recipe, tmp_path):
    words = recipe("--config.optim.learning_rate=1e38")
    result = run("train.py", *words, f"--workdir={tmp_path / 'nan'}")
    line = error_line(result, 1)
    assert "at step" in line
    assert "must be finite; nothing was saved yet; give the same command" in line
    assert (tmp_path / "nan" / "crash.txt").exists()


@pytest.mark.slow
def test_a_run_that_diverged_at_once_starts_again_in_its_directory(recipe, tmp_path):
    again, other = f"--workdir={tmp_path / 'run'}", f"--workdir={tmp_path / 'other'}"
    run("train.py", *recipe("--config.optim.learning_rate=1e38"), again)
    for workdir in (again, other):
        result = run("train.py", *recipe(), workdir)
        assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "run", tmp_path / "other")


@pytest.mark.slow  # the campaign also flips bits
def test_a_damaged_checkpoint(finished, recipe, tmp_path):
    workdir = tmp_path / "damaged"
    subprocess.run(["cp", "-a", str(finished[0]), str(workdir)], check=True)
    last = (workdir / "checkpoints" / "last").resolve()
    data = max(
        (path for path in (last / "params").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    damaged = bytearray(data.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    data.write_bytes(damaged)
    line = error_line(call("eval.py", f"--workdir={workdir}", "--checkpoint=39"), 1)
    assert "checkpoint at step 39: " in line
    assert "--checkpoint=26" in line
    table = workdir / "steps.csv"
    row = table.read_text().splitlines()[1]
    changed = row.replace(".", ".7", 1)
    table.write_text(table.read_text().replace(row, changed))
    # Training continues from the older checkpoint, to the same end.
    result = run("train.py", *recipe(), f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    assert "warning: checkpoint at step 39" in result.stderr
    assert f"warning: {table}: up to step 26 it is not what" in result.stderr
    assert "metrics.csv: up to" not in result.stderr
    table.write_text(table.read_text().replace(changed, row))
    assert_same_run(finished[0], workdir)


@pytest.mark.slow
def test_a_broken_picture_stops_or_is_skipped(recipe, photos, tmp_path):
    copy = tmp_path / "photos"
    subprocess.run(["cp", "-a", str(photos), str(copy)], check=True)
    broken = copy / "train" / "red" / "7.png"
    broken.write_bytes(b"")
    result = call("train.py", *recipe(photos=copy), f"--workdir={tmp_path / 'a'}")
    line = error_line(result)
    assert f"{broken}: not a readable image" in line
    assert "--config.data.skip_broken=true" in line
    assert not (tmp_path / "a").exists()
    words = recipe("--config.data.skip_broken=true", "--config.epochs=1", photos=copy)
    result = run("train.py", *words, f"--workdir={tmp_path / 'b'}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--config=configs/lenet55.py"],
            "did you mean configs/lenet5.py?",
        ),
        (["--config=configs/lenet5.py", "seed=1"], "write --config.seed=1"),
        (
            ["--config=configs/lenet5.py", "--config.data.image_size=20"],
            "--config.data.image_size=20: lenet5 needs at least 32 px",
        ),
        (
            ["--config=configs/lenet5.py", "--config.batch_size=9000"],
            "--config.batch_size=9000: more than the 3,500 training images",
        ),
        (
            ["--config=configs/resnet34.py:folder", "--config.data.dir=/no/such"],
            "--config.data.dir=/no/such",
        ),
        (["--config=configs/resnet34.py"], "imagenet2012"),
        (
            ["--config=configs/resnet34.py", "--config.mesh.model=2"],
            "--config.mesh.model=2: resnet34 cannot be split",
        ),
    ],
)
def test_mistakes_of_train(words, expected, tmp_path):
    words = *words, "--config.mesh.data=1", f"--workdir={tmp_path / 'run'}"
    line = error_line(call("train.py", *words))
    assert expected in line


def test_a_batch_that_the_devices_cannot_share(tmp_path):
    words = ("--config=configs/lenet5.py", "--config.batch_size=100")
    result = call("train.py", *words, f"--workdir={tmp_path / 'run'}")
    assert error_line(result) == (
        "error: --config.batch_size=100: must be a multiple of the 8 devices; nearest "
        "are 96 and 104"
    )


@pytest.mark.parametrize("program", ["train.py", "eval.py", "sweep.py"])
def test_help_without_importing_jax_or_numpy(program):
    code = (
        f"import sys, runpy; sys.argv = [{program!r}, '--help']\n"
        f"try: runpy.run_path({program!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not sys.modules.keys() & {'jax', 'numpy'}"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "examples:" in result.stdout
    without = subprocess.run(
        [sys.executable, program], cwd=ROOT, capture_output=True, text=True
    )
    assert without.returncode == 2
    assert "examples:" in without.stderr
