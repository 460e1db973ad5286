"""A folder of times is complete, and its numbers agree with each other."""

import json

import pytest

from cnn_arch import settings
from cnn_arch.analysis import times
from cnn_arch.run_directory import read_times
from cnn_arch.screen import Screen


def test_a_folder_of_times(tmp_path):
    config, _ = settings.parse(["--config=lenet5", "--config.batch_size=3"])
    times.write(config, tmp_path, Screen(quiet=True))
    found = json.loads((tmp_path / "times.json").read_text())
    assert read_times(tmp_path) == found
    assert found["totals"]["params"] == 60_850
    assert list(found["batches"]) == ["1"]  # the next, 4, is above the config's
    speed = found["batches"]["1"]
    assert 0 < speed["shortest"] <= speed["milliseconds"] <= speed["longest"]
    rate = pytest.approx(1000 / speed["milliseconds"])
    assert speed["images_per_second"] == rate and speed["runs"] >= 3
    assert "| 1 | " in (tmp_path / "README.md").read_text()
    assert "commit " in (tmp_path / "environment.txt").read_text()
    assert read_times(tmp_path / "none") is None
