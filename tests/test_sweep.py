"""sweep.py as a user runs it, with real trials that are really killed."""

import csv
import json
import signal
import time
from functools import partial

import psutil
import pytest

from tests import commands
from tests.commands import LIMIT_SECONDS, error_line

run = partial(commands.run, "sweep.py")
start = partial(commands.start, "sweep.py")


def wait_until(condition, seconds=LIMIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sweep_file(tmp_path, trials):
    path = tmp_path / "trials.py"
    path.write_text(f"def get_sweep():\n    return {trials!r}\n")
    return path


def read_trials(workdir):
    return json.loads((workdir / "manifest.json").read_text())["trials"]


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def processes(workdir):
    """Returns the pid of every process that trains in a trial of the sweep."""
    found = {}
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(f"--workdir={workdir}/trial-") for word in words):
            found[process.pid] = process.info["ppid"]
    # A child has its trial's command line until it executes another program.
    return [pid for pid, parent in found.items() if parent not in found]


def check_results(workdir):
    """Compares the table of the sweep with the files of its trials."""
    states = [trial["state"] for trial in read_trials(workdir)]
    assert states == ["done", "failed", "done", "diverged"]
    for row in read_csv(workdir / "results.csv"):
        of_trial = workdir / row["trial"]
        assert row["workdir"] == str(of_trial)
        if row["state"] != "done":
            assert row["test_top1_error"] == row["validation_top1_error"] == ""
            continue
        errors = [
            r["validation_top1_error"] for r in read_csv(of_trial / "metrics.csv")
        ]
        assert float(row["validation_top1_error"]) == min(map(float, errors))
        tested = json.loads((of_trial / "eval" / "results.json").read_text())["test"]
        assert float(row["test_top1_error"]) == tested["top1_error"]
        assert float(row["epochs"]) == 2
        config = json.loads((of_trial / "config.json").read_text())
        assert config["optim"]["learning_rate"] == float(row["optim.learning_rate"])
        assert config["seed"] == int(row["seed"])
    assert (workdir / "plots" / "errors.png").exists()


@pytest.mark.slow  # test_own_network.py has a sweep of one trial
def test_four_trials_two_at_a_time_one_fails_and_one_diverges(tmp_path):
    trials = [
        {"optim.learning_rate": 0.05, "seed": 0},
        {"init_from": "nowhere", "seed": 0},
        {"optim.learning_rate": 0.02, "seed": 1},
        {"optim.learning_rate": 1e38, "seed": 0},
    ]
    workdir = tmp_path / "sweep"
    words = (
        "--config=configs/lenet5.py",
        "--config.epochs=2",
        f"--sweep={sweep_file(tmp_path, trials)}",
        "--executor=local",
        "--max_parallel=2",
        f"--workdir={workdir}",
    )
    parallel = []
    with start(*words) as launcher:
        while launcher.poll() is None:
            parallel.append(len(processes(workdir)))
            time.sleep(0.1)
        assert launcher.stdout
        shown = launcher.stdout.read()
    assert max(parallel) == 2
    assert launcher.returncode == 1, shown

    check_results(workdir)
    assert "failed   trial-01  init_from=nowhere" in shown
    assert "--init_from=nowhere: no such run or file" in shown
    assert "diverged trial-03  learning_rate=1e+38" in shown
    assert "must be finite" in shown  # the end of its traceback

    # The next commands can be pasted; --status prints the failure again.
    commands = shown.partition("Next:")[2].strip().splitlines()
    assert f"python sweep.py --workdir={workdir} --resume" in commands[0]
    assert f"python eval.py --workdir={workdir}/trial-0" in commands[1]
    result = run(f"--workdir={workdir}", "--status")
    assert result.returncode == 0, result.stderr
    assert "trials   2 done, 1 diverged, 1 failed" in result.stdout
    assert "must be finite" in result.stdout


@pytest.mark.slow
def test_killed_stopped_and_resumed(tmp_path):
    """A launcher is killed; the next finds its trial, gets Ctrl-C; the third ends."""
    num_epochs = {"trial-00": 12, "trial-01": 1}
    trials = [{"epochs": float(number)} for number in num_epochs.values()]
    workdir = tmp_path / "sweep"
    words = (
        "--config=configs/lenet5.py",
        f"--sweep={sweep_file(tmp_path, trials)}",
        "--executor=local",
        f"--workdir={workdir}",
    )
    metrics = workdir / "trial-00" / "metrics.csv"
    with start(*words) as launcher:
        wait_until(lambda: metrics.exists() and read_csv(metrics))
        launcher.send_signal(signal.SIGKILL)
    (pid,) = processes(workdir)

    shown = []
    with start(f"--workdir={workdir}", "--resume") as launcher:
        assert launcher.stdout
        for line in launcher.stdout:
            shown.append(line)
            if line.startswith("trial-00  running"):
                assert processes(workdir) == [pid]  # found, not started again
                result = run(f"--workdir={workdir}", "--resume")
                assert f": sweep.py (process {launcher.pid} on " in error_line(result)
                launcher.send_signal(signal.SIGINT)
    assert launcher.returncode == 130
    assert not processes(workdir)
    assert f"Continue: python sweep.py --workdir={workdir} --resume" in shown[-1]
    num_rows = len(read_csv(metrics))
    assert 0 < num_rows < 12

    result = run(*words)  # the same command continues the sweep, like --resume
    assert result.returncode == 0, result.stderr
    assert [trial["state"] for trial in read_trials(workdir)] == ["done", "done"]
    for trial, number in num_epochs.items():
        steps = [int(row["step"]) for row in read_csv(workdir / trial / "steps.csv")]
        assert steps == list(range(1, number * 54 + 1))  # 3,500 // 64 = 54 in an epoch
    assert "resume   epoch" in (workdir / "trial-00" / "log.txt").read_text()


@pytest.mark.slow
def test_a_search_stops_trials_that_lag_behind(tmp_path):
    body = (
        "from configs.sweeps.base import log_uniform\n"
        "def get_space():\n"
        "    return {'optim.learning_rate': log_uniform(1e-3, 1.0)}\n"
    )
    (tmp_path / "space.py").write_text(body)
    workdir = tmp_path / "sweep"
    result = run(
        "--config=configs/lenet5.py",
        "--config.epochs=5",
        "--config.batch_size=16",  # learns in an epoch at rates of 0.01 to 0.1
        f"--sweep={tmp_path / 'space.py'}",
        "--search=tpe",
        "--num_trials=8",
        "--executor=local",
        f"--workdir={workdir}",
    )
    assert result.returncode == 0, result.stderr
    states = [trial["state"] for trial in read_trials(workdir)]
    assert len(states) == 8
    assert set(states) == {"done", "pruned"}
    assert states[:3] == ["done"] * 3
    rows = read_csv(workdir / "results.csv")
    assert all(float(row["epochs"]) < 5 for row in rows if row["state"] == "pruned")
    best = min(float(row["validation_top1_error"]) for row in rows)
    assert f"{best:.2f} % validation error" in result.stdout
    assert (workdir / "optuna_journal.log").exists()
    # More trials can be added to a search.
    words = f"--workdir={workdir}", "--resume", "--num_trials=9"
    assert run(*words).returncode == 0
    assert len(read_trials(workdir)) == 9


RECIPE = "--config=configs/lenet5.py"
TRIALS = "--sweep=configs/sweeps/lr_wd.py"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((RECIPE,), "--sweep: must be given, or --status or --resume"),
        (("--resume",), "--workdir: must be given with --status and --resume"),
        (("--workdir=/no/such", "--status"), "--workdir=/no/such: no sweep there"),
        (
            (RECIPE, "--sweep=configs/sweeps/lr.py"),
            "did you mean configs/sweeps/lr_wd.py?",
        ),
        ((RECIPE, TRIALS, "--search=tpe"), "needs --num_trials"),
        ((RECIPE, TRIALS, "--config.sed=1"), "did you mean --config.s"),
        (
            (RECIPE, TRIALS, "--executor=local", "--nodes=2"),
            "--nodes: needs --executor=slurm",
        ),
    ],
)
def test_mistakes(words, expected):
    assert expected in error_line(commands.call("sweep.py", *words))


def test_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = RECIPE, TRIALS, "--executor=slurm", f"--workdir={tmp_path / 'sweep'}"
    line = error_line(commands.call("sweep.py", *words))
    assert line.startswith("error: --executor=slurm: sbatch is not found; ")
    assert not (tmp_path / "sweep").exists()
