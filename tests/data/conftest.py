"""Small image folders and the config of their data."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from configs import base


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


@pytest.fixture
def data_config():
    """Returns a function that makes config.data with some fields set."""

    def make(**fields):
        data = base.get_config().data
        data.update(
            {"image_size": 16, "eval_resize": 20, "scale_min": 18, "scale_max": 24}
        )
        data.update(fields)
        data.lock()
        return data

    return make


@pytest.fixture
def make_folder(tmp_path):
    """Returns a function that fills a folder with random images of various sizes."""

    def make(counts: dict[str, int], *, suffix=".jpg", size=None) -> Path:
        generator = np.random.default_rng(0)
        for place, count in counts.items():
            folder = tmp_path / "photos" / place
            folder.mkdir(parents=True)
            for i in range(count):
                shape = size or tuple(generator.integers(20, 40, 2))
                image = generator.integers(0, 256, (*shape, 3), np.uint8)
                (folder / f"{i:03}{suffix}").write_bytes(encode(image, suffix))
        return tmp_path / "photos"

    return make
