"""The files of a run's metrics, written by one start or by several."""

import struct
import time
from pathlib import Path

from tensorboardX.proto import event_pb2

from cnn_arch.training.metrics import Metrics


def add_epoch(metrics: Metrics, step: int) -> None:
    """Adds an epoch of one step."""
    values = {"loss": 2.0, "top1_error": 50.0}
    metrics.add_step(step, {**values, "gradient_norm": 1.0, "learning_rate": 0.1})
    measured = {"images_per_second": 9, "seconds": 1, "input_wait_seconds": 0}
    metrics.add_epoch(step, {**values, "top5_error": 9.0}, **measured)


def test_curves_are_not_drawn_again_at_once(tmp_path):
    (tmp_path / "plots").mkdir()
    metrics = Metrics(tmp_path, 0, 1)
    times = []
    for step, last in ((1, False), (2, False), (3, True)):
        add_epoch(metrics, step)
        metrics.draw(last=last)
        times.append((tmp_path / "plots" / "curves.png").stat().st_mtime_ns)
    metrics.close()
    assert times[0] == times[1] < times[2]


def shown_in_tensorboard(workdir: Path) -> list[int]:
    """Returns the steps of the loss; a start hides all from its first step on."""
    steps: list[int] = []
    for path in sorted(workdir.glob("events.out.tfevents*")):
        data = path.read_bytes()
        while data:  # length, checksum, event, checksum
            (size,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == event_pb2.SessionLog.START:
                steps = [step for step in steps if step < event.step]
            if any(value.tag == "step/loss" for value in event.summary.value):
                steps.append(event.step)
    return steps


def test_tensorboard_shows_each_step_once(tmp_path, monkeypatch):
    """Killed before the first checkpoint, then after it."""
    now = time.time()
    for start, checkpoint in enumerate((0, 0, 2)):
        # The time is in the file's name.
        monkeypatch.setattr(time, "time", lambda start=start: now + start)
        metrics = Metrics(tmp_path, checkpoint, 1)
        for step in range(checkpoint + 1, 4):
            add_epoch(metrics, step)
        metrics.close()
    assert len(list(tmp_path.glob("events*"))) == 3
    assert shown_in_tensorboard(tmp_path) == [1, 2, 3]
