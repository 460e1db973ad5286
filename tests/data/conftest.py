"""Small image folders, the config of their data, and what tests read of a data set."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cnn_arch.datasets.dataset import load_dataset
from cnn_arch.errors import UsageError
from configs import base

SPLITS = {"train/rose": 10, "train/tulip": 20, "test/rose": 3, "test/tulip": 2}


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def load(data) -> Any:  # not Dataset: its sources have no common type
    return load_dataset(data)


def sizes(splits) -> dict[str, int]:
    return {split: len(source) for split, source in splits.items()}


def usage_error(data) -> str:
    with pytest.raises(UsageError) as caught:
        load_dataset(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def data_config():
    """Returns a function that makes config.data with some fields set."""

    def make(**fields):
        data = base.get_config().data
        data.update(image_size=16, eval_resize=20, scale_min=18, scale_max=24)
        data.update(fields | {"dir": str(fields.get("dir", ""))})
        return data.lock()

    return make


@pytest.fixture
def make_folder(tmp_path):
    """Returns a function that fills a folder with random images of various sizes."""

    def make(counts: dict[str, int], *, suffix=".jpg", size=None) -> Path:
        generator = np.random.default_rng(0)
        for place, count in counts.items():
            folder = tmp_path / "photos" / place
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                shape = size or tuple(generator.integers(20, 40, 2))
                image = generator.integers(0, 256, (*shape, 3), np.uint8)
                (folder / f"{i:03}{suffix}").write_bytes(encode(image, suffix))
        return tmp_path / "photos"

    return make


@pytest.fixture
def photos(make_folder, data_config):
    """Returns a function that gives the config and the splits of a folder."""
    counts = {"train/a": 18, "train/b": 18, "val/a": 2, "val/b": 2}
    root = make_folder(counts | {"test/a": 6, "test/b": 5})

    def make(**fields):
        data = data_config(dir=root, **fields)
        return data, load(data).splits

    return make
