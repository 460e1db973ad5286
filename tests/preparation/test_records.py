"""Records are written whole or not at all, and a command continues after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnn_arch.data import records as reading
from cnn_arch.errors import RunError, UsageError
from cnn_arch.preparation import records, shards
from cnn_arch.preparation.plan import Part, Plan
from cnn_arch.screen import Screen
from tests.commands import ROOT
from tests.preparation.conftest import jpeg

# Of each process the same.
IMAGES = [jpeg(generator=np.random.default_rng(number)) for number in range(12)]


def plan_of(folder, *, read=None, num_images=12, origin="here", num_bytes=100):
    """Returns a plan of four files with three images each."""

    def examples(first):
        for place in range(first, first + 3):
            if read:
                read(place)
            yield {"image": IMAGES[place], "label": place % 2}

    parts = [
        Part("train", num_bytes, lambda first=first: examples(first))
        for first in range(0, 12, 3)
    ]
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=["a", "b"]),
    }
    return Plan(
        "shapes", "1.0.0", folder, features, {"train": num_images}, parts, origin
    )


def write(plan):
    return records.write(plan, f"--to={plan.folder.parent}", Screen(quiet=True))


def content(folder):
    """Returns the images and labels of a data set, in their order."""
    _, sources = reading.open_folder(str(folder))
    train = sources["train"]
    return [train.example(place) for place in range(len(train))]


def test_a_data_set_is_written_once(tmp_path):
    plan = plan_of(tmp_path / "1.0.0")
    assert write(plan)
    assert content(plan.folder) == [(IMAGES[i], i % 2) for i in range(12)]
    assert sorted(os.listdir(tmp_path)) == ["1.0.0", "1.0.0.lock"]
    assert not write(plan)


def test_tfds_reads_the_folder_as_its_own(tmp_path):
    plan = plan_of(tmp_path / "shapes" / "1.0.0")
    write(plan)
    builder = tfds.core.read_only_builder.builder_from_files(
        "shapes", data_dir=tmp_path
    )
    assert builder.info.splits["train"].num_examples == 12
    assert builder.info.splits["train"].num_shards == 4
    source = builder.as_data_source("train[3:5]")
    assert [record["label"] for record in source] == [1, 0]
    assert source[0]["image"].shape == (30, 40, 3)


def test_labels_are_known_without_the_records(tmp_path):
    plan = plan_of(tmp_path / "1.0.0")
    write(plan)
    _, sources = reading.open_folder(str(plan.folder))
    np.testing.assert_array_equal(sources["train"].labels, np.arange(12) % 2)
    taken = sources["train"].take(np.array([3, 4]))
    assert taken.labels.tolist() == [1, 0]
    (plan.folder / reading.LABELS).write_bytes(b"PK")
    _, sources = reading.open_folder(str(plan.folder))
    assert sources["train"].labels.tolist() == [0, 1] * 6  # read from the records


def test_the_fingerprint_is_of_the_content(tmp_path):
    write(plan_of(tmp_path / "a"))
    write(plan_of(tmp_path / "b", origin="another place"))
    identities = []
    for name in "ab":
        _, sources = reading.open_folder(str(tmp_path / name))
        identities.append(sources["train"].identity())
    assert identities[0] == identities[1]
    IMAGES.append(IMAGES.pop(0))
    write(plan_of(tmp_path / "c"))
    IMAGES.insert(0, IMAGES.pop())
    _, sources = reading.open_folder(str(tmp_path / "c"))
    assert sources["train"].identity() != identities[0]


def test_finished_files_survive_an_error(tmp_path):
    folder, reads = tmp_path / "1.0.0", []

    def read(place):
        reads.append(place)
        if place == 10 and len(reads) < 13:
            raise UsageError("broken")

    with pytest.raises(UsageError, match="broken"):
        write(plan_of(folder, read=read))
    assert not folder.exists()
    unfinished = tmp_path / "1.0.0.unfinished"
    finished = list(unfinished.glob("shapes*-of-00004"))
    assert not list(unfinished.glob(".draft*"))
    reads[:] = [-1] * 12
    assert write(plan_of(folder, read=read))
    assert len(reads) - 12 == 12 - 3 * len(finished)
    assert content(folder) == [(IMAGES[i], i % 2) for i in range(12)]


KILLED = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.preparation.test_records import plan_of, write
def read(place):
    time.sleep(0.02)
    print(place, flush=True)
write(plan_of(Path({folder!r}), read=read))
"""


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_nothing_that_looks_whole(tmp_path):
    """Killed again and again, the command ends with what it would have written."""
    folder, kills = tmp_path / "1.0.0", 0
    code = KILLED.format(root=str(ROOT), folder=str(folder))
    while not folder.exists():
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout
            for _ in range(3 + 2 * kills):
                process.stdout.readline()
            time.sleep(0.01 * (kills % 4))
            process.send_signal(signal.SIGKILL)
        kills += 1
        for path in (tmp_path / "1.0.0.unfinished").glob("shapes*-of-00004"):
            assert shards.ArrayRecordReader(str(path)).num_records() == 3
    assert kills >= 2
    assert not write(plan_of(folder))
    assert content(folder) == [(IMAGES[i], i % 2) for i in range(12)]


def test_a_data_set_of_another_source_is_left_alone(tmp_path):
    plan = plan_of(tmp_path / "1.0.0")
    write(plan)
    with pytest.raises(UsageError, match="is there already, from another source"):
        write(plan_of(tmp_path / "1.0.0", origin="there"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(IMAGES[0])
    with pytest.raises(UsageError, match="photos is there already"):
        write(plan_of(tmp_path / "photos"))
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]


def test_files_of_another_source_are_not_continued(tmp_path):
    def fail(place):
        raise UsageError("broken")

    with pytest.raises(UsageError, match="broken"):
        write(plan_of(tmp_path / "1.0.0", read=fail))
    with pytest.raises(UsageError, match="was begun from another source"):
        write(plan_of(tmp_path / "1.0.0", origin="there"))


def test_a_wrong_number_of_images_is_never_whole(tmp_path):
    with pytest.raises(UsageError, match="has 12 train images, not the 13"):
        write(plan_of(tmp_path / "1.0.0", num_images=13))
    assert not (tmp_path / "1.0.0").exists()


def test_a_small_disk_is_noticed_before(tmp_path):
    with pytest.raises(UsageError, match=r"GiB are free, about 3,\d+,\d+,\d+.\d GiB"):
        write(plan_of(tmp_path / "1.0.0", num_bytes=10**18))
    assert not list((tmp_path / "1.0.0.unfinished").iterdir())


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    plan = plan_of(tmp_path / "1.0.0")
    full = tmp_path / "full"  # each write fails there as on a full disk
    full.symlink_to("/dev/full")
    draft_of = shards.draft_of
    monkeypatch.setattr(
        shards,
        "draft_of",
        lambda path: full if "-00002-of" in path.name else draft_of(path),
    )
    with pytest.raises(
        RunError, match=r"-00002-of-00004: .*the same command continues"
    ):
        write(plan)
    monkeypatch.undo()
    assert write(plan)


def test_records_that_are_missing_in_a_file_are_noticed(tmp_path):
    plan = plan_of(tmp_path / "1.0.0")
    write(plan)
    file = next(plan.folder.glob("shapes*-of-00004"))
    shards._check_draft(file, 3)
    with pytest.raises(OSError, match="has 3 of 4 records"):
        shards._check_draft(file, 4)


def test_two_commands_do_not_write_one_data_set(tmp_path):
    errors = []

    def read(place):
        if place == 0:
            with pytest.raises(UsageError, match="another command writes"):
                write(plan_of(tmp_path / "1.0.0"))
            errors.append(place)

    write(plan_of(tmp_path / "1.0.0", read=read))
    assert errors == [0]


def test_damaged_facts_are_said(tmp_path):
    plan = plan_of(tmp_path / "1.0.0")
    write(plan)
    facts = json.loads((plan.folder / reading.PREPARED).read_text())
    assert facts["num_images"] == {"train": 12}
    (plan.folder / "dataset_info.json").write_text("{")
    with pytest.raises(UsageError, match=r"--config.data.dir=.*: damaged \(.*again$"):
        reading.open_folder(str(plan.folder))
    assert not reading.is_prepared(str(Path(tmp_path, "nowhere")))
