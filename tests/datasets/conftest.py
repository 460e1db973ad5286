"""The folders of tests/data, and a run that has begun with one."""

import pytest

from cnn_arch import run_directory
from cnn_arch.datasets import inspection
from cnn_arch.datasets.dataset import load_dataset
from cnn_arch.datasets.pictures import Use
from cnn_arch.screen import Screen
from configs import base
from tests.data.conftest import data_config, make_folder  # noqa: F401 - fixtures


@pytest.fixture
def open_run(tmp_path):
    """Returns a function that opens data as a training or an evaluation does."""

    def open_data(data, split="", **fields):
        return load_dataset(
            data, Use(Screen(quiet=True), tmp_path / "run", split, **fields)
        )

    return open_data


@pytest.fixture
def begin(open_run, tmp_path):
    """Returns a function that begins a run and makes the folder of a checkpoint."""

    def begin_run(data):
        dataset = open_run(data)
        config = base.get_config()
        workdir = tmp_path / "run"
        run_directory.create(workdir, config, dataset.class_names, dataset.split_rows)
        inspected = dataset.pictures.inspection
        inspected.start(workdir / inspection.FILE, Screen(quiet=True))
        inspected.finish(Screen(quiet=True))
        (workdir / "checkpoints" / "7").mkdir(parents=True, exist_ok=True)
        return dataset

    return begin_run
