"""What networks predict for the images of a split: written, read and averaged.

An ensemble is the mean of its members' probabilities, as the papers test theirs
(Krizhevsky et al. 2012, Section 6.1; He et al. 2015, Table 5).
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_arch.data.sources import Source
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.results import Advance, Results, judge_scores
from cnn_arch.files import replacing
from cnn_arch.screen import printable

CHUNK = 4096  # images that are judged at a time
# Of a file.
ARRAYS = {"image", "index", "label", "log_probability", "class_name", "facts"}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The probabilities of all classes, of one network or of the mean of several."""

    images: tuple[str, ...]  # the names of the N images, in the order of the split
    index: np.ndarray  # int64 [N], their positions in the split
    label: np.ndarray  # int32 [N]
    log_probability: np.ndarray  # float32 [N, K], natural logarithms
    class_names: tuple[str, ...]
    facts: Mapping[str, Any]  # "network", errors in percent, the protocol
    skipped: tuple[str, ...] = ()  # names of the images that could not be read

    def results(self) -> Results:
        """Returns the predicted classes and the losses."""
        parts = []
        for start in range(0, len(self.label), CHUNK):
            rows = slice(start, start + CHUNK)
            scores = jnp.asarray(self.log_probability[rows])
            judged = judge_scores(scores, jnp.asarray(self.label[rows]))
            parts.append(jax.device_get(judged))
        merged = {
            key: np.concatenate([part[key] for part in parts]) for key in parts[0]
        }
        return Results(index=self.index, **merged, skipped=self.skipped)

    def write(self, path: Path) -> None:
        """Writes an .npz file that ``read`` reads."""
        with replacing(path) as draft:
            np.savez(
                draft,
                allow_pickle=False,
                image=np.array(self.images),
                index=self.index,
                label=self.label,
                log_probability=self.log_probability,
                class_name=np.array(self.class_names),
                facts=np.array(json.dumps(dict(self.facts))),
            )


@dataclasses.dataclass(frozen=True)
class Known:
    """An evaluator whose results are known; ``record`` writes and draws them."""

    prediction: Prediction
    description: Mapping[str, Any]
    suffix: str = ""
    more_tops: tuple[int, ...] = ()

    def num_batches(self, source: Source) -> int:
        """Returns 1."""
        return 1

    def judge(self, variables: Any, source: Source, advance: Advance) -> Results:
        """Returns the results."""
        advance()
        return self.prediction.results()


def read(path: str) -> Prediction:
    """Reads a file of ``Prediction.write``.

    Raises:
      UsageError: it cannot be read, or is another file.
    """
    try:
        if not zipfile.is_zipfile(path):  # NumPy would try to read a pickle
            raise ValueError("it is no .npz file")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        if missing := ARRAYS - arrays.keys():
            raise ValueError(f"it has no array {min(missing)}")
        prediction = Prediction(
            images=tuple(map(str, arrays["image"])),
            index=arrays["index"].astype(np.int64),
            label=arrays["label"].astype(np.int32),
            log_probability=arrays["log_probability"].astype(np.float32),
            class_names=tuple(map(str, arrays["class_name"])),
            facts=json.loads(str(arrays["facts"])) | {"network": path},
        )
        _check_arrays(prediction)
    except (
        OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise UsageError(
            f"--average_of={path}: damaged, or not a file of --save_probabilities "
            f"({error}); write it again"
        ) from None
    # The errors are those of these arrays, whatever else the file says.
    protocol = str(prediction.facts.get("protocol", "unknown protocol"))
    facts = prediction.results().summary() | {"network": path, "protocol": protocol}
    return dataclasses.replace(prediction, facts={**prediction.facts, **facts})


def _check_arrays(prediction: Prediction) -> None:
    """Raises ValueError if the arrays of a file do not belong together."""
    number, num_classes = len(prediction.images), len(prediction.class_names)
    label, index = prediction.label, prediction.index
    if not label.shape == index.shape == (number,):
        raise ValueError("its arrays are of different lengths")
    if prediction.log_probability.shape != (number, num_classes) or not number:
        raise ValueError("it has no probabilities of all images and classes")
    if not 0 <= label.min() <= label.max() < num_classes:
        raise ValueError("it has a label of no class")
    if np.isnan(prediction.log_probability).any():
        raise ValueError("a probability is not a number")


def mean(members: Iterable[Prediction]) -> tuple[Prediction, list[dict[str, Any]]]:
    """Averages the probabilities; only their sum and one member are in memory.

    Returns:
      The mean, whose facts are only its members', and the facts of each member.

    Raises:
      UsageError: members have other images or classes than the first.
    """
    first, total, facts = None, np.zeros(0), []
    for member in members:
        if first is None:
            first, total = member, member.log_probability
        else:
            _check_same(first, member)
            total = np.logaddexp(total, member.log_probability)
        facts.append(dict(member.facts))
    assert first is not None, "an ensemble has members"
    total = total - np.log(np.float32(len(facts)))
    found = {"protocol": f"mean of {len(facts)} networks", "members": facts}
    return dataclasses.replace(first, log_probability=total, facts=found), facts


def _check_same(first: Prediction, other: Prediction) -> None:
    """Checks that two members predict the same images, in the same order."""
    names = [each.facts["network"] for each in (first, other)]
    if first.class_names != other.class_names:
        raise UsageError(
            f"{names[1]}: has other classes than {names[0]}; leave one of them out"
        )
    if first.images != other.images:
        differ = sorted(set(first.images) ^ set(other.images))
        example = f", such as {printable(differ[0], 60)}" if differ else ": their order"
        raise UsageError(
            f"{names[1]}: is of other images than {names[0]}{example}; evaluate both "
            "on the same split of the same data"
        )
    if not np.array_equal(first.label, other.label):
        raise UsageError(
            f"{names[1]}: its images have other labels than those of {names[0]}; "
            "evaluate both on the same data"
        )
