"""The files of a run's metrics, written by one start or by several."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto import event_pb2

from cnn_arch.errors import UsageError
from cnn_arch.training.advice import new_wait_share
from cnn_arch.training.metrics import Metrics
from cnn_arch.training.tables import Table
from tests.runs import rows


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


def events(workdir: Path) -> Iterator[Any]:
    """Yields TensorBoard's events, in the order of the files."""
    for path in sorted(workdir.glob("events.out.tfevents*")):
        data = path.read_bytes()
        while data:  # length, checksum, event, checksum
            (size,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def shown_in_tensorboard(workdir: Path) -> list[int]:
    """Returns the steps of the loss; a start hides all from its first step on."""
    steps: list[int] = []
    for event in events(workdir):
        if event.session_log.status == event_pb2.SessionLog.START:
            steps = [step for step in steps if step < event.step]
        if any(value.tag == "step/loss" for value in event.summary.value):
            steps.append(event.step)
    return steps


def test_a_checkpoint_finds_all_events_on_the_disk(tmp_path):
    """What a run writes before a save must survive a kill after it."""
    metrics = Metrics(tmp_path, 0, 1)
    for step in range(1, 51):
        add_epoch(metrics, step)
        assert shown_in_tensorboard(tmp_path)[-1] == step
    metrics.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("step,loss\n1,2\nx,y\n", "could not convert"),
        (f"step,loss\n1,{'9' * 200_000}\n", "field larger than"),
        ("loss\n2\n", "'step'"),
        ("step,loss\n1,2.5q\n", "could not convert string to float"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, content, reason):
    path = tmp_path / "steps.csv"
    path.write_text(content)
    rule = f"^{path}: not readable .*({reason}).*delete it to continue"
    with pytest.raises(UsageError, match=rule):
        Table(path, ("step", "loss"), lambda row: int(row["step"]) < 9)
    path.unlink()
    Table(path, ("step", "loss"), lambda row: True).close()
    assert path.read_text() == "step,loss\n"


@pytest.mark.parametrize(("num_classes", "is_shown"), [(5, False), (6, True)])
def test_top5_is_shown_with_more_than_five_classes(tmp_path, num_classes, is_shown):
    metrics = Metrics(tmp_path, 0, 1, num_classes)
    add_epoch(metrics, 1)
    metrics.close()
    tags = {value.tag for event in events(tmp_path) for value in event.summary.value}
    assert ("epoch/validation_top5_error" in tags) == is_shown
    assert "epoch/validation_top1_error" in tags
    assert rows(tmp_path / "metrics.csv")[0]["validation_top5_error"] == "9.0"


@pytest.mark.parametrize(
    ("waits", "seconds", "warned"),
    [
        ([0.6] * 9, 0.9, None),  # short epochs: little was lost so far
        ([0.6] * 30, 0.9, 17),  # more than ten seconds
        ([60, 1, 1, 60], 100, 1),  # once in a run
        ([10, 10, 50], 100, 3),
        ([19] * 5, 100, None),  # less than a fifth of the time
    ],
)
def test_waiting_for_images_is_named_once(waits, seconds, warned):
    epochs = [{"input_wait_seconds": each, "seconds": str(seconds)} for each in waits]
    shares = [new_wait_share(epochs[:n]) for n in range(1, len(epochs) + 1)]
    found = [n for n, share in enumerate(shares, start=1) if share]
    assert found == ([warned] if warned else [])


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


def test_a_table_is_cut_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "steps.csv"
    # A killed run leaves rows after the checkpoint, the last one half-written.
    path.write_text("step,loss\n1,0.5\n2,0.1000000014901161\n3,0.25\n4,0.")
    columns = "step", "loss"
    table = Table(path, columns, lambda row: int(row["step"]) <= 2)
    table.add(step=3, loss=1 / 3)
    table.sync()
    text = "step,loss\n1,0.5\n2,0.1000000014901161\n3,0.3333333333333333\n"
    assert path.read_text() == text
    table.close()


def test_a_row_without_all_columns_is_dropped(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,loss\n1,0.5\n2")
    Table(path, ("step", "loss"), lambda row: True).close()
    assert path.read_text() == "step,loss\n1,0.5\n"
