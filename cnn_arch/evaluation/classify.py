"""Classification of a user's own pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cnn_arch.data.decoding import UnreadableImageError
from cnn_arch.data.views import find_images, load_image, small_views
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.writing import own_turn
from cnn_arch.files import write_csv
from cnn_arch.report import plots
from cnn_arch.run_directory import Run
from cnn_arch.screen import printable

NUM_NAMED = 5  # classes listed for each picture
NUM_DRAWN = 20
RESULTS = "eval/predictions_images.csv"

Answer = list[dict[str, Any]]  # {"class": ..., "probability": ...}, the greatest first


def classify(path: str, network: Network, run: Run) -> dict[str, Answer]:
    """Classifies a picture, or those of a folder and its sub-folders.

    Writes the answers to ``RESULTS``, and draws the first.

    Returns:
      For each file its most probable classes, none if the file cannot be read.

    Raises:
      UsageError: there is no picture that can be read.
    """
    files, screen = find_images(path), run.screen
    for line in small_views(network.config.data):
        screen.warn(line)
    answer: dict[str, Answer] = {file: [] for file in files}
    unread: dict[str, str] = {}  # file -> why it cannot be read
    drawn: list[tuple[str, np.ndarray]] = []

    @jax.jit
    def predict(variables: Any, images: Any) -> jax.Array:
        return jax.nn.softmax(network.logits(variables, images))

    for batch, reasons in _batches(files, network.config):
        unread |= reasons
        if not batch:
            continue
        drawn += batch[: NUM_DRAWN - len(drawn)]
        images = np.stack([image for _, image in batch])
        probabilities = np.asarray(predict(network.variables, images))
        for (file, _), row in zip(batch, probabilities, strict=True):
            answer[file] = _most_probable(row, network.class_names)
            likely = ", ".join(
                f"{printable(each['class'], 24)} {100 * each['probability']:.1f} %"
                for each in answer[file][:3]
            )
            screen.row(f"{printable(file)}  {likely}", last=True)
    if not drawn:
        raise UsageError(_nothing_read(path, unread))

    picture = run.workdir / "plots" / "predictions.png"
    with own_turn(run):
        write_csv(run.workdir / RESULTS, _table(answer, unread))
        plots.predictions(picture, drawn, [answer[file] for file, _ in drawn])
    screen.say("wrote", f"{picture}  {RESULTS}")
    for file, reason in unread.items():
        screen.row(f"{printable(file)}  {reason}", last=True)
    if unread:
        screen.warn(f"{len(unread):,} of {len(files):,} pictures cannot be read")
    return answer


def _batches(
    files: Sequence[str], config: ConfigDict
) -> Iterator[tuple[list[tuple[str, np.ndarray]], dict[str, str]]]:
    """Yields files and their images, and why others before the last cannot be read.

    All have as many images as a step has at once, but the last, which may be empty.
    """
    at_once = -(-config.batch_size // config.accumulate)
    batch, unread = [], {}
    for file in files:
        try:
            batch.append((file, load_image(file, config.data)))
        except UnreadableImageError as error:
            unread[file] = f"not a readable image ({error})"
        if len(batch) == at_once:
            yield batch, unread
            batch, unread = [], {}
    yield batch, unread


def _most_probable(probabilities: np.ndarray, class_names: Sequence[str]) -> Answer:
    ranks = np.argsort(-probabilities, kind="stable")[:NUM_NAMED]
    return [
        {"class": class_names[k], "probability": float(probabilities[k])} for k in ranks
    ]


def _nothing_read(path: str, unread: dict[str, str]) -> str:
    first, rule = next(iter(unread.items()))
    if first != path:
        rule = f"none of {len(unread):,} pictures can be read, {first} is {rule}"
    return f"--images={path}: {rule}; give a JPEG, PNG, WebP or BMP file"


def _table(answer: dict[str, Answer], unread: dict[str, str]) -> Iterator[list[str]]:
    """Yields the rows of ``RESULTS``: a file, its classes, why it cannot be read."""
    num_named = max(map(len, answer.values()))
    columns = [(f"class_{i}", f"probability_{i}") for i in range(1, num_named + 1)]
    yield ["file", *(name for pair in columns for name in pair), "unread"]
    for file, named in answer.items():
        cells = [(each["class"], f"{each['probability']:.6g}") for each in named]
        cells += [("", "")] * (num_named - len(cells))
        yield [file, *(cell for pair in cells for cell in pair), unread.get(file, "")]
