"""The signals that stop a run, and its exit status."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cnn_arch.errors import RunError
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import stopping
from cnn_arch.training.stopping import StoppedError, stop_request
from tests.commands import ROOT


@pytest.fixture(autouse=True)
def restored_handlers():
    signals = signal.SIGINT, signal.SIGHUP, *stopping.SCHEDULER_SIGNALS
    before = {each: signal.getsignal(each) for each in signals}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_scheduler_may_ask_twice(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with stop_request() as request:
        assert not request.number
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert request.number == number
    assert signal.getsignal(number) == before
    stopped = StoppedError(request.number, "at epoch 7")
    assert (stopped.exit_status, stopped.by_scheduler) == (0, True)


def test_a_second_ctrl_c_ends_the_run_at_once():
    # A process in the background ignores Ctrl-C until it sets a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), stop_request() as request:
        signal.raise_signal(signal.SIGINT)
        stopped = StoppedError(request.number, "at epoch 7")
        assert (stopped.exit_status, stopped.by_scheduler) == (130, False)
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_the_test_after_the_training_stops_at_once(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with (
        pytest.raises(StoppedError) as caught,
        stopping.stopping_at_once("in the test", has_advanced=False),
    ):
        signal.raise_signal(number)
        time.sleep(5)
    assert signal.getsignal(number) == before
    stopped = caught.value
    assert (stopped.place, stopped.has_advanced) == ("in the test", False)
    assert stopped.exit_status == (130 if name == "SIGINT" else 0)


def test_outside_slurm_there_is_no_warning_and_no_requeue(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    stopping.prepare(None, pytest.fail)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not stopping.requeue()


def test_under_slurm_an_early_signal_waits_for_the_first_step(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("SLURM_STEP_NODELIST", raising=False)
    monkeypatch.setattr(stopping, "_early", stopping.StopRequest())
    warnings = []
    stopping.prepare(None, warnings.append)
    stopping.prepare("runs/a", warnings.append)
    assert "no --workdir" in warnings[0]
    assert "srun starts all 2 tasks" in warnings[1]
    signal.raise_signal(signal.SIGUSR1)
    with stop_request() as request:
        assert request.number == signal.SIGUSR1


@pytest.fixture
def hangup():
    """The usual answer to SIGHUP, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield signal.SIG_DFL
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_the_run_unless_it_shall_not(hangup):
    with stop_request() as request:
        signal.raise_signal(signal.SIGHUP)
        assert request.number == signal.SIGHUP
        stopped = StoppedError(request.number, "at epoch 7")
        assert (stopped.exit_status, stopped.by_scheduler) == (129, False)
    assert signal.getsignal(signal.SIGHUP) == hangup
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with stop_request() as request:
        signal.raise_signal(signal.SIGHUP)
        assert not request.number


SCONTROL = """#!/bin/sh
[ "$2" = show ] && echo "JobState=RUNNING Requeue=1"
echo "$1" >> {log}
"""


def test_a_job_without_progress_is_started_again_three_times(tmp_path, monkeypatch):
    """A time limit that leaves no time to train would requeue it for ever."""
    (tmp_path / "run").mkdir()
    log, scontrol = tmp_path / "log", tmp_path / "scontrol"
    scontrol.write_text(SCONTROL.format(log=log))
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    run = Run(tmp_path / "run", Screen(muted=True))

    def leave(has_advanced):
        stopped = StoppedError(signal.SIGUSR1, "at epoch 0.1", has_advanced)
        return stopping.leave(stopped, run, requeues=True)

    def num_requeued():
        return log.read_text().split().count("requeue")

    for has_advanced in (False, False, True, False, False, False):
        assert leave(has_advanced) == 0
    assert num_requeued() == 6
    with pytest.raises(RunError, match="not started again: in 4 starts in a row"):
        leave(False)
    assert num_requeued() == 6
    assert leave(False) == 0  # the user has submitted it again
    assert num_requeued() == 7


def test_a_stop_is_late_once_the_training_took_longer_than_the_start(monkeypatch):
    monkeypatch.setattr(stopping, "_STARTED", time.monotonic() - 20)
    request = stopping.StopRequest()
    assert not request.is_late
    request.began -= 11
    assert request.is_late


LATE = """
import os, signal, sys
from cnn_arch import cli, command_line

class Late:
    def __del__(self):  # when Python has taken its handlers away
        os.kill(os.getpid(), signal.SIGTERM)

def main(options, words, ending):
    if os.environ["HANDLES"]:
        signal.signal(signal.SIGTERM, lambda *_: None)
    return 0

late = Late()
cli.run(main, command_line.parser("Ends.", ""), needs_words=False)
"""


@pytest.mark.parametrize(("handles", "status"), [("1", 0), ("", -signal.SIGTERM)])
def test_a_late_signal_fails_no_command_that_handled_it(handles, status):
    words, variables = [sys.executable, "-c", LATE], os.environ | {"HANDLES": handles}
    ended = subprocess.run(words, cwd=ROOT, env=variables)
    assert ended.returncode == status
