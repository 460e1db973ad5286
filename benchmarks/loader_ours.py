"""The worker of loader.py for this project."""

from importlib.metadata import version

import cv2
import grain
import numpy as np
import simplejpeg
from worker import serve

from cnn_arch.data import transforms
from cnn_arch.data.loading import TrainBatches
from cnn_arch.datasets.dataset import load_dataset
from cnn_arch.parallel.runtime import keep_freed_memory
from configs import base

ENDLESS = 10**9  # steps


def prepare(case: dict):
    """Opens the folder; returns the versions, and a pass that takes a batch."""
    keep_freed_memory()  # as in train.py
    data, size = base.get_config().data, case["image_size"]
    data.update(dir=case["data_dir"], num_threads=case["workers"], image_size=size)
    data.eval_resize = size  # not used
    if case["loader"] == "cnn_arch_bilinear":
        data.interpolation = "random"  # of one method
        transforms.INTERPOLATIONS = (cv2.INTER_LINEAR,)
    source = load_dataset(data).splits["train"]
    batches = TrainBatches(source, data, seed=0, batch_size=case["batch_size"])
    stream = batches.iterate(0, ENDLESS)

    def take() -> None:
        image = next(stream)["image"]
        assert image.shape == (case["batch_size"], size, size, 3)
        assert image.dtype == np.uint8

    for _ in range(batches.steps_per_epoch):  # it decodes whole files
        take()
    versions = {"simplejpeg": simplejpeg.__version__, "grain": grain.__version__}
    versions["nvimgcodec"] = version("nvidia-nvimgcodec-cu12")
    return {"versions": versions}, {"batch": take}


if __name__ == "__main__":
    serve(prepare)
