"""Several views of each image, whose outputs are averaged.

The host decodes an image once, cuts its views and sends them as uint8. The devices
compute them in chunks of as many pixels as a training step has, and keep one sum an
image: their memory does not grow with the number of views.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data.boxes import Crops
from cnn_arch.data.loading import prefetch, process_rows
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source, num_threads, read_image, read_shape
from cnn_arch.data.views import SingleView, eval_size
from cnn_arch.data.whole_images import Bucket, WholeImages
from cnn_arch.evaluation.cost import say_cost
from cnn_arch.evaluation.evaluator import Evaluator, Variables
from cnn_arch.evaluation.results import (
    Advance,
    Arrays,
    Batch,
    Finish,
    collect,
    judge_scores,
    log_probabilities,
)
from cnn_arch.models.class_map import class_map, window_sides
from cnn_arch.parallel.mesh import partition_specs, put_batch
from cnn_arch.parallel.processes import batch_share
from cnn_arch.screen import Screen

Views = SingleView | Crops | WholeImages


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that are computed together; their views have the same shapes."""

    indices: np.ndarray  # int32 [m], positions in the split; beyond it: padding
    bucket: Bucket | None  # of whole images


class ManyViews(Evaluator):
    """Evaluates the mean over the views of each image.

    With combine "softmax", the mean is of probabilities, as in the papers; with
    "logits", of what comes before the softmax.
    """

    def __init__(
        self, config: ConfigDict, model: Any, mesh: Mesh, views: Views, combine: str
    ):
        """Compiles nothing."""
        super().__init__(config, model, mesh)
        self.views = views
        self._combine = combine
        self._chunk = jax.jit(self._sum_of_chunk)
        # Probabilities are added by their logarithms, so none becomes 0.
        is_sum = combine == "logits"
        self._add = jax.jit(jnp.add if is_sum else jnp.logaddexp)
        self._mean = jax.jit(lambda x, n: x / n if is_sum else x - jnp.log(n))
        self.step = jax.jit(judge_scores)
        self.predict_step = jax.jit(log_probabilities)
        self._windows = None
        if isinstance(views, WholeImages):
            self._windows = window_sides(
                model, eval_size(config.data), config.data.channels
            )
        self._planned: tuple[Source, list[Group]] | None = None

    def num_batches(self, source: Source) -> int:
        """Returns the number of groups of a split."""
        return len(self._plan(source))

    def prepare(self, variables: Variables, source: Source, screen: Screen) -> None:
        """Compiles for the first group, and says what a split will cost."""
        groups = self._plan(source)
        first = groups[0]
        share = batch_share(self._mesh)[1]
        channels = self._config.data.channels
        blank = [
            np.zeros((len(first.indices) // share, *stack, channels), np.uint8)
            for stack in self.views.stacks(first.bucket)
        ]
        number = sum(map(self._num_pixels, groups)) / self._num_pixels(first)
        folded = self.fold(variables)
        say_cost(
            lambda: self.scores(folded, blank),
            number,
            self.description,
            source,
            screen,
        )

    def apply(
        self, step: Finish, variables: Variables, source: Source, advance: Advance
    ) -> tuple[Arrays, tuple[str, ...]]:
        """As ``Evaluator.apply``; the step gets the scores and the labels."""
        groups = self._plan(source)

        def outputs() -> Iterator[Batch]:
            load = partial(self._load, source, groups)
            threads = num_threads(source, self._config.data)
            for arrays in prefetch(load, 0, len(groups), threads):
                views: Any = arrays.pop("views")
                batch = put_batch(arrays, self._mesh)
                scores = self.scores(variables, views)
                yield step(scores, batch.pop("label")) | batch

        return collect(outputs(), source, advance)

    def scores(self, variables: Variables, views: Sequence[np.ndarray]) -> jax.Array:
        """Returns the mean over all views of each image, float32 [m, K].

        The views are arrays uint8 [m, k, H, W, C], with this process's part of m. The
        scores are logarithms of probabilities or, with combine "logits", logits.
        """
        total, number = None, 0
        for stack in views:
            for part in np.split(stack, self._num_parts(stack.shape), axis=1):
                placed = put_batch({"views": part}, self._mesh)["views"]
                scores = self._chunk(variables, placed)
                total = scores if total is None else self._add(total, scores)
                number += part.shape[1]
        return self._mean(total, number)

    def probabilities(
        self, variables: Variables, views: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Returns the probabilities of the classes, float32 [m, K], for any m.

        The views are as in ``scores``, the variables as ``fold`` returns them. For a
        single process.
        """
        num_images = len(views[0])
        rows = [(0, -num_images % self._mesh.size)]
        padded = [np.pad(each, rows + [(0, 0)] * 4) for each in views]
        scores = self.scores(variables, padded)
        return np.asarray(jax.nn.softmax(scores))[:num_images]

    def _plan(self, source: Source) -> list[Group]:
        """Divides a split into groups; for whole images, this reads their headers."""
        if self._planned and self._planned[0] is source:
            return self._planned[1]
        members: dict[Any, list[int]] = {None: list(range(len(source)))}
        if isinstance(self.views, WholeImages):
            members = self._by_bucket(source, self.views)
        groups = []
        for bucket in sorted(members):
            found, size = members[bucket], self._group_size(bucket)
            for start in range(0, len(found), size):
                indices = np.full(size, len(source), np.int32)
                own = found[start : start + size]
                indices[: len(own)] = own
                groups.append(Group(indices, bucket))
        self._planned = source, groups
        return groups

    def _by_bucket(self, source: Source, views: WholeImages) -> dict[Bucket, list[int]]:
        data = self._config.data
        with ThreadPoolExecutor(num_threads(source, data)) as pool:
            shapes = pool.map(
                lambda index: read_shape(source, index, data), range(len(source))
            )
            members: dict[Bucket, list[int]] = {}
            for index, shape in enumerate(shapes):
                bucket = views.bucket(shape or (1, 1))
                members.setdefault(bucket, []).append(index)
        return members

    @property
    def _room(self) -> int:
        """The number of pixels that a device has in memory at once."""
        return self._at_once // self._mesh.size * eval_size(self._config.data) ** 2

    def _group_size(self, bucket: Bucket | None) -> int:
        largest = max(map(math.prod, self.views.stacks(bucket)))
        return max(1, self._room // largest) * self._mesh.size

    def _num_parts(self, shape: tuple[int, ...]) -> int:
        """Returns how many equal chunks of views [m, k, H, W, C] fit in memory."""
        num_images = shape[0] * batch_share(self._mesh)[1] // self._mesh.size
        room, number = self._room // math.prod((num_images, *shape[2:4])), shape[1]
        return next(
            n
            for n in range(1, number + 1)
            if n == number or (number % n == 0 and number // n <= room)
        )

    def _num_pixels(self, group: Group) -> int:
        stacks = self.views.stacks(group.bucket)
        return len(group.indices) * sum(map(math.prod, stacks))

    def _load(self, source: Source, groups: Sequence[Group], number: int) -> Any:
        """Loads this process's part of a group; "views" is a list of arrays."""
        data, group = self._config.data, groups[number]
        rows = process_rows(len(group.indices), batch_share(self._mesh))
        index = group.indices[rows]
        views = [
            np.zeros((len(index), *stack, data.channels), np.uint8)
            for stack in self.views.stacks(group.bucket)
        ]
        label, mask = np.zeros(len(index), np.int32), np.zeros(len(index), bool)
        for row in np.flatnonzero(index < len(source)):
            image, found = read_image(source, index[row], data)
            # A damaged header may have another shape than the image.
            if image is None or self.views.bucket(image.shape[:2]) != group.bucket:
                continue
            for stack, cut in zip(
                views, self.views.cut(image, group.bucket), strict=True
            ):
                stack[row] = cut
            label[row], mask[row] = found, True
        return {"index": index, "label": label, "mask": mask, "views": views}

    def _sum_of_chunk(self, variables: Variables, views: jax.Array) -> jax.Array:
        """Splits views uint8 [m, k, H, W, C] over "data"; returns sums [m, K]."""
        specs = partition_specs(variables, self._model, self._mesh)
        return jax.shard_map(
            self._sum_on_device,
            mesh=self._mesh,
            in_specs=(specs, P("data")),
            out_specs=P("data"),
            check_vma=False,
        )(variables, views)

    def _sum_on_device(self, variables: Variables, views: jax.Array) -> jax.Array:
        """Sums logits, or probabilities by their logarithms, over the views [m, k]."""
        image = views.reshape(-1, *views.shape[2:])
        logits = self._logits(variables, normalise(image, self._config.data))
        logits = logits.reshape(*views.shape[:2], -1)
        if self._combine == "logits":
            return logits.sum(axis=1)
        return logsumexp(jax.nn.log_softmax(logits), axis=1)

    def _logits(self, variables: Variables, image: jax.Array) -> jax.Array:
        if self._windows is None:
            return self._model.apply(variables, image, train=False)
        found = class_map(self._model, variables, image, self._windows)
        return found.mean(axis=range(1, found.ndim - 1))  # over all positions
