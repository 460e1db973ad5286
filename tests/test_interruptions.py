"""A training that is killed, stopped, or started twice, as a user runs it."""

import os
import pty
import shutil
import signal
import subprocess
import time

import pytest

from cnn_arch.lock import Lock
from tests.commands import (
    LIMIT_SECONDS,
    ROOT,
    call,
    command,
    environment,
    error_line,
    run,
)
from tests.runs import assert_same_run

pytestmark = pytest.mark.slow  # CI's campaign also kills, stops and starts twice


def test_killed_twice_and_resumed_is_the_same_run(finished, recipe, tmp_path):
    workdir = tmp_path / "killed"
    words = (
        *recipe("--config.checkpoint.every_minutes=0.001"),
        f"--workdir={workdir}",
    )
    for num_steps in (5, 20):
        process = subprocess.Popen(
            command("train.py", *words),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        steps = workdir / "steps.csv"
        deadline = time.monotonic() + LIMIT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if steps.exists() and steps.read_bytes().count(b"\n") > num_steps:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = run("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert "resume   epoch" in result.stdout
    assert_same_run(finished[0], workdir)


def train_until(words, beginning, number):
    """Sends a signal when a line begins so; returns the exit status and the last."""
    line = ""
    with subprocess.Popen(
        command("train.py", *words),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.lstrip().startswith(beginning):
                process.send_signal(number)
    return process.returncode, line


def assert_continues(words, finished, workdir):
    result = run("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert_same_run(finished[0], workdir)


def test_ctrl_c_saves_and_names_the_command_that_continues(finished, recipe, tmp_path):
    workdir = tmp_path / "stopped"
    words = (*recipe(), f"--workdir={workdir}")
    status, last = train_until(words, "epoch", signal.SIGINT)
    assert status == 130
    assert "saved. Continue: python" in last
    assert f"--workdir={workdir}" in last
    assert_continues(words, finished, workdir)


def test_a_signal_after_the_last_epoch_stops_the_test(finished, recipe, tmp_path):
    workdir = tmp_path / "tested"
    words = (*recipe(), f"--workdir={workdir}")
    status, last = train_until(words, "3  ", signal.SIGTERM)  # the last epoch's row
    assert status == 0
    assert last.startswith(
        ("stopped at epoch 3, saved.", "stopped in the test, saved.")
    )
    assert "Continue: python" in last
    assert not (workdir / "eval" / "results.json").exists()
    assert_continues(words, finished, workdir)


def test_a_closed_terminal_saves(finished, recipe, tmp_path):
    """Its output fails from then on, also the progress bar's; the run is saved."""
    workdir = tmp_path / "hangup"
    words = (*recipe("--config.epochs=300"), f"--workdir={workdir}")
    terminal, other_end = pty.openpty()
    # The terminal that a new session opens first is its own: it is hung up with it.
    shell = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(other_end)]
    process = subprocess.Popen(
        [*shell, *command("train.py", *words)],
        cwd=ROOT,
        env=environment(),
        start_new_session=True,
    )
    shown = b""
    while b"train loss" not in shown:
        shown += os.read(terminal, 10_000)
    os.close(other_end)
    os.close(terminal)
    status = process.wait(LIMIT_SECONDS)
    log = (workdir / "log.txt").read_text()
    assert status == 129, log
    assert "saved. Continue: python" in log
    assert list((workdir / "checkpoints").glob("[0-9]*"))
    assert not (workdir / "crash.txt").exists()


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_run_stops_when_its_directory_is_gone(recipe, tmp_path, is_deleted):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    words = (*recipe("--config.epochs=3000"), f"--workdir={workdir}")
    started = subprocess.Popen(
        command("train.py", *words),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (workdir / "checkpoints" / "last").exists():
        assert started.poll() is None
        time.sleep(0.1)
    workdir.rename(moved)
    if is_deleted:
        shutil.rmtree(moved)
    shown, errors = started.communicate(timeout=LIMIT_SECONDS)
    result = subprocess.CompletedProcess(words, started.returncode, shown, errors)
    line = error_line(result, 1)
    assert line.startswith(f"error: {workdir}: the directory was ")
    assert "saved" not in shown
    if not is_deleted:
        assert f"; give --workdir={moved} to continue" in line
        found = call("eval.py", f"--workdir={moved}")
        assert found.returncode == 0, found.stderr


def test_a_second_start_is_refused_at_once(finished, recipe):
    workdir, _ = finished
    with Lock(workdir / "run.lock") as lock:
        lock.take()
        result = call("train.py", *recipe(), f"--workdir={workdir}")
        assert f"(process {os.getpid()} on " in error_line(result)
        result = call("eval.py", f"--workdir={workdir}")  # reads at any time
        assert result.returncode == 0, result.stderr
