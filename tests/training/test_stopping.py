"""The signals that stop a run, and its exit status."""

import signal

import pytest

from cnn_arch.training import stopping
from cnn_arch.training.stopping import StoppedError, stop_request


@pytest.fixture(autouse=True)
def restored_handlers():
    signals = signal.SIGINT, *stopping.SCHEDULER_SIGNALS
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
    stopped = StoppedError(request.number, epoch=7)
    assert (stopped.exit_status, stopped.by_scheduler) == (0, True)


def test_a_second_ctrl_c_ends_the_run_at_once():
    # A process in the background ignores Ctrl-C until it sets a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), stop_request() as request:
        signal.raise_signal(signal.SIGINT)
        stopped = StoppedError(request.number, epoch=7)
        assert (stopped.exit_status, stopped.by_scheduler) == (130, False)
        signal.raise_signal(signal.SIGINT)


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
