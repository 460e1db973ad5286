"""Classification of a user's own pictures."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from cnn_arch.data.decoding import UnreadableImageError
from cnn_arch.data.views import (
    evaluation_view,
    find_images,
    load_image,
    small_views,
)
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.evaluator import Variables
from cnn_arch.evaluation.many_views import ManyViews
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


class _Picture(NamedTuple):
    file: str
    picture: np.ndarray  # in the view for evaluation, to be drawn
    views: list[np.ndarray]  # uint8 [k, H, W, C]


def classify(
    path: str, network: Network, evaluator: ManyViews, run: Run
) -> dict[str, Answer]:
    """Classifies a picture, or those of a folder and its sub-folders.

    Writes the answers to ``RESULTS``, and draws the first.

    Returns:
      For each file its most probable classes, none if the file cannot be read.

    Raises:
      UsageError: there is no picture that can be read.
    """
    files, screen, data = find_images(path), run.screen, network.config.data
    for line in small_views(data):
        screen.warn(line)
    if evaluator.views.number > 1:
        screen.say("protocol", evaluator.description["protocol"])
    answer: dict[str, Answer] = {file: [] for file in files}
    unread: dict[str, str] = {}  # file -> why it cannot be read
    drawn: list[tuple[str, np.ndarray]] = []
    variables = evaluator.fold(network.variables)
    for batch, reasons in _batches(files, network.config, evaluator):
        unread |= reasons
        drawn += [(each.file, each.picture) for each in batch][: NUM_DRAWN - len(drawn)]
        for each, row in zip(
            batch, _probabilities(batch, variables, evaluator), strict=True
        ):
            answer[each.file] = _most_probable(row, network.class_names)
            likely = ", ".join(
                f"{printable(named['class'], 24)} {100 * named['probability']:.1f} %"
                for named in answer[each.file][:3]
            )
            screen.row(f"{printable(each.file)}  {likely}", last=True)
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
    files: Sequence[str], config: ConfigDict, evaluator: ManyViews
) -> Iterator[tuple[list[_Picture], dict[str, str]]]:
    """Yields pictures, and why others before the last cannot be read.

    All have as many views as a step has images at once, or one picture more; but the
    last, which may be empty.
    """
    at_once = -(-config.batch_size // config.accumulate)
    size = max(1, at_once // evaluator.views.number)
    batch, unread = [], {}
    for file in files:
        try:
            image = load_image(file, config.data)
        except UnreadableImageError as error:
            unread[file] = f"not a readable image ({error})"
            continue
        bucket = evaluator.views.bucket(image.shape[:2])
        views = evaluator.views.cut(image, bucket)
        batch.append(_Picture(file, evaluation_view(image, config.data), views))
        if len(batch) == size:
            yield batch, unread
            batch, unread = [], {}
    yield batch, unread


def _probabilities(
    batch: Sequence[_Picture], variables: Variables, evaluator: ManyViews
) -> list[np.ndarray]:
    """Returns the probabilities of the classes of each picture.

    Pictures whose views have the same shapes are computed together.
    """
    rows: dict[str, np.ndarray] = {}
    groups: defaultdict[Any, list[_Picture]] = defaultdict(list)
    for each in batch:
        groups[tuple(stack.shape for stack in each.views)].append(each)
    for group in groups.values():
        views = [
            np.stack(stacks) for stacks in zip(*(p.views for p in group), strict=True)
        ]
        found = evaluator.probabilities(variables, views)
        rows |= zip((each.file for each in group), found, strict=True)
    return [rows[each.file] for each in batch]


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
