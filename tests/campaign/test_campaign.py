"""The campaign's own instruments: they see a fault, and only a fault."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaign import fuzzed_settings, lab, launch, oracle, table, torn
from tests.campaign.lab import Call


def test_bounds_are_those_of_clopper_and_pearson():
    # 0 of n: 1 - 0.025 ** (1 / n). 1 of 10: R's binom.test(1, 10).
    assert table.bounds(0, 200) == pytest.approx((0, 1 - 0.025**0.005))
    assert table.bounds(1, 10) == pytest.approx((0.002528579, 0.4450161), rel=1e-6)
    assert table.bounds(10, 10)[1] == 1


@pytest.fixture(scope="module")
def judge(finished):
    return oracle.Oracle(finished[0])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_copy_is_the_same_run(judge, finished, tmp_path):
    copy = shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)
    assert judge.check(copy) == ""


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda run: _flip(run / "weights_best.npz"), "weights_best.npz|unreadable"),
        (lambda run: _edit(run / "steps.csv", "\n13,", "\n14,"), "differs: steps.csv"),
        (
            lambda run: _edit(run / "metrics.csv", "\n2,26", "\n2,27"),
            "differs: metrics.csv",
        ),
        (lambda run: (run / "README.md").unlink(), "README.md missing"),
        (lambda run: next(run.glob("events.*")).write_bytes(b""), "TensorBoard"),
        (lambda run: os.remove(run / "checkpoints" / "last"), "link last"),
        (lambda run: (run / "checkpoints" / "5-deleted").mkdir(), "left over"),
        (lambda run: (run / "checkpoints" / "5").mkdir(), "listed but unreadable: 5"),
        (lambda run: _swap(run / "checkpoints"), "checkpoint 26 has other bits"),
    ],
)
def test_the_oracle_sees(judge, finished, tmp_path, damage, fault):
    copy = shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)
    damage(copy)
    assert any(part in judge.check(copy) for part in fault.split("|"))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _swap(checkpoints: Path) -> None:
    shutil.rmtree(checkpoints / "26")
    shutil.copytree(checkpoints / "39", checkpoints / "26")


WRITER = """
import ctypes, os, sys
folder, log, call, action = sys.argv[1:]
ctypes.CDLL(os.environ["LD_PRELOAD"]).campaign_arm(
    folder.encode(), ctypes.c_long(int(call)), int(action), log.encode())
with open(folder + "/draft", "w") as file:
    file.write("12345678")
    file.flush()
    os.fsync(file.fileno())
os.replace(folder + "/draft", folder + "/file")
"""
CALLS = ["open64 draft", "write draft", "fsync draft", "rename file"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    built = launch.build_shim(tmp_path_factory.mktemp("shim"))
    return built or pytest.skip("no C compiler")


def _write(shim: Path, folder: Path, call: int, action: int):
    folder.mkdir()
    log = folder.with_suffix(".log")
    words = [sys.executable, "-c", WRITER, folder, log, str(call), str(action)]
    environment = os.environ | {"LD_PRELOAD": str(shim)}
    return (
        subprocess.run(words, env=environment, capture_output=True, text=True),
        [each.describe(folder) for each in lab.read_log(log)],
    )


def test_the_shim_counts_kills_and_fails(shim, tmp_path):
    ended, calls = _write(shim, tmp_path / "counted", 0, 0)
    assert ended.returncode == 0 and calls == CALLS
    ended, calls = _write(shim, tmp_path / "killed", 4, launch.KILL)
    assert ended.returncode == -9 and calls == CALLS
    assert (tmp_path / "killed" / "draft").read_text() == "12345678"
    ended, _ = _write(shim, tmp_path / "half", 2, launch.KILL_IN_THE_MIDDLE)
    assert ended.returncode == -9
    assert (tmp_path / "half" / "draft").read_text() == "1234"
    ended, _ = _write(shim, tmp_path / "full", 2, 28)
    assert "No space left on device" in ended.stderr


def test_files_without_fsync_are_torn():
    calls = [
        Call(1, "write", "/run/tmp/a", ""),
        Call(2, "write", "/run/tmp/b", ""),
        Call(3, "fsync", "/run/tmp/a", ""),
        Call(4, "rename", "/run/1", "/run/tmp"),
        Call(5, "write", "/run/c", ""),
        Call(6, "fsync", "/run/c", "80"),
        Call(7, "write", "/run/c", ""),
    ]
    assert torn.unsynced(calls) == {"/run/1/b": 0, "/run/c": 80}


def test_a_bad_message_is_a_fault():
    assert (
        fuzzed_settings.fault_of_line("error: --config.seed=x: must be a number") == ""
    )
    for line in ("a\nb", "\x1b[31m", "x" * 2000, "<object at 0x7f>"):
        assert fuzzed_settings.fault_of_line(line)


def test_the_newest_commit_with_trials_is_shown(tmp_path):
    path = tmp_path / "kills.jsonl"
    first, second = table.Trial(0, "first"), table.Trial(3, "second")

    def open_record(key):
        return closing(table.Record(path, key))

    for key, trial in (("abc 0", first), ("def 0", second)):
        with open_record(key) as record:
            assert not record.trials
            record.add(trial)
            assert record.shown == (key[:3], [trial])
    with open_record("ghi 0") as record:
        assert not record.trials
        assert record.shown == ("def", [second])
    with open_record("abc 0") as record:
        assert record.shown == ("abc", [first])
