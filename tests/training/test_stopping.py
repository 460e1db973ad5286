"""Which signals ask a run to stop, and with what status it ends."""

import signal

import pytest

from cnn_arch.training import stopping
from cnn_arch.training.stopping import StoppedError, stop_request


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_scheduler_asks_and_may_repeat_itself(name):
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


def test_ctrl_c_asks_and_the_second_ends_at_once():
    # A shell has what it starts in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), stop_request() as request:
            signal.raise_signal(signal.SIGINT)
            stopped = StoppedError(request.number, epoch=7)
            assert (stopped.exit_status, stopped.by_scheduler) == (130, False)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_is_said_or_requeued_outside_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    stopping.prepare(None, pytest.fail)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not stopping.requeue()


def test_under_slurm_an_early_signal_waits_for_the_first_step(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("SLURM_STEP_NODELIST", raising=False)
    before = {each: signal.getsignal(each) for each in stopping.SCHEDULER_SIGNALS}
    monkeypatch.setattr(stopping, "_early", stopping.StopRequest())
    try:
        warnings = []
        stopping.prepare(None, warnings.append)
        stopping.prepare("runs/a", warnings.append)
        assert "no --workdir" in warnings[0]
        assert "srun starts all 2 tasks" in warnings[1]
        signal.raise_signal(signal.SIGUSR1)
        with stop_request() as request:
            assert request.number == signal.SIGUSR1
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
