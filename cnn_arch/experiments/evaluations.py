"""Evaluations of finished runs beyond the test at their end, each made only once.

They are those of ``eval.py``, with the same files: entries in eval/results.json, and
probabilities; and the responses of layers. They use the devices of this process.
"""

import itertools
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cnn_arch import settings
from cnn_arch.evaluation import ensemble, prediction, record, responses
from cnn_arch.evaluation.ensemble import Member
from cnn_arch.evaluation.prediction import Prediction
from cnn_arch.parallel.launcher import ALONE
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen

NUM_IMAGES = 1000  # of the test, whose responses are measured


def results(workdir: Path, split: str, protocol: str = "one_crop") -> dict[str, Any]:
    """Returns the entry of a split and a protocol in eval/results.json.

    Raises:
      UsageError: the protocol does not suit the run.
      RunError: the run cannot be evaluated.
    """
    key = split if protocol == "one_crop" else f"{split}_{protocol}"
    stored = record.read_results(workdir)
    if key not in stored:
        stored = _member(workdir, split=split, protocol=protocol).evaluate()
    return stored[key]


def ensemble_error(workdirs: Sequence[Path], number: int) -> float:
    """Returns the top-1 test error in percent of ensembles of so many of the networks.

    It is the mean over all choices of ``number`` networks.
    """
    members = [_probabilities(workdir) for workdir in workdirs]
    errors = []
    for chosen in itertools.combinations(members, number):
        average, _ = prediction.mean(chosen)
        errors.append(average.results().summary()["top1_error"])
    return statistics.fmean(errors)


@cache
def response_deviations(workdir: Path) -> dict[str, float]:
    """Returns the deviation of each 3x3 layer's response, of the best network.

    Raises:
      UsageError: the network cannot be measured.
      RunError: its checkpoint is damaged.
    """
    screen = Screen(muted=True)
    mesh = open_devices(settings.from_json(workdir / "config.json"), screen)
    return responses.of_run(workdir, mesh, screen, num_images=NUM_IMAGES)


def _probabilities(workdir: Path) -> Prediction:
    """Returns the network's probabilities for the test images, from their file."""
    path = workdir / "eval" / "probabilities_test.npz"
    if not path.exists():
        _member(workdir).predict().write(path)
    return prediction.read(str(path))


def _member(workdir: Path, **given: str) -> Member:
    """Opens the best network of a run; ``given`` are options of eval.py."""
    given["workdir"] = str(workdir)
    (member,) = ensemble.open_members((), given, Screen(muted=True), ALONE)
    return member
