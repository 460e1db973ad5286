"""Files of runs, which measures and records are made of."""

import json

import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.evaluation.prediction import Prediction

HEAD = "epoch,step,train_top1_error,validation_top1_error,seconds\n"
ROWS = "1,100,60,55,30\n2,200,40,45,30\n3,300,20,30,60\n"


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "metrics.csv").write_text(HEAD + ROWS)
    (tmp_path / "eval").mkdir()
    results = {"test": {"top1_error": 32.5}}
    (tmp_path / "eval" / "results.json").write_text(json.dumps(results))
    return tmp_path


@pytest.fixture
def diverged(workdir):
    """The loss is not finite in the second of three epochs and a half."""
    (workdir / "metrics.csv").write_text(HEAD + ROWS.partition("2,")[0])
    config, _ = settings.parse(["--config=lenet5", "--config.epochs=3.5"])
    (workdir / "config.json").write_text(settings.to_json(config))
    (workdir / "classes.json").write_text(json.dumps([str(i) for i in range(10)]))
    found = {"reason": "loss is nan at step 130: must", "steps_per_epoch": 100}
    (workdir / "diverged.json").write_text(json.dumps(found))
    return workdir


@pytest.fixture
def write_probabilities():
    def write(workdir, of_first_class):
        """Three images of the first of two classes, and their probabilities."""
        probability = np.array([[p, 1 - p] for p in of_first_class], np.float32)
        prediction = Prediction(
            images=("a", "b", "c"),
            index=np.arange(3),
            label=np.zeros(3, np.int32),
            log_probability=np.log(probability),
            class_names=("yes", "no"),
            facts={},
        )
        prediction.write(workdir / "eval" / "probabilities_test.npz")

    return write
