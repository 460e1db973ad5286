"""One centre crop per image: the protocol of validation and of the final test."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data.loading import evaluation_batches
from cnn_arch.data.normalisation import normalise
from cnn_arch.data.sources import Source
from cnn_arch.data.views import eval_size
from cnn_arch.datasets.opening import say_skipped
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
from cnn_arch.parallel.mesh import abstract, abstract_batch, partition_specs, put_batch
from cnn_arch.parallel.processes import batch_share
from cnn_arch.screen import Screen

Step = Callable[[Variables, Batch], Batch]


class OneCrop(Evaluator):
    """Evaluates one view of each image."""

    def __init__(self, config: ConfigDict, model: Any, mesh: Mesh):
        """Compiles nothing; the blocks of the network may be in loops."""
        super().__init__(config, model, mesh)
        size, resize = eval_size(config.data), config.data.eval_resize
        protocol = f"1 crop: shorter side {resize}, centre {size} px"
        if config.data.in_memory:
            protocol, resize = f"whole image, {size} px, {config.data.fit}", size
        self.description = {"protocol": protocol, "scales": [resize], "num_crops": 1}
        self.step: Any = jax.jit(partial(self._on_mesh, judge_scores))
        self.predict_step = jax.jit(partial(self._on_mesh, log_probabilities))

    def num_batches(self, source: Source) -> int:
        """Returns the number of batches of a split."""
        return math.ceil(len(source) / self._at_once)

    def compile(self, variable_shapes: Variables) -> None:
        """Compiles the step before the first batch."""
        batch = abstract_batch(self._batch_shape, self._mesh)
        folded = jax.eval_shape(self.fold, variable_shapes)
        shapes = abstract(folded, self._model, self._mesh)
        self.step = self.step.lower(shapes, batch).compile()

    def prepare(self, variables: Variables, source: Source, screen: Screen) -> None:
        """Compiles the step, and says what the evaluation of a split will cost."""
        label = np.zeros(self._at_once // batch_share(self._mesh)[1], np.int32)
        image = np.zeros((len(label), *self._batch_shape[1:]), np.uint8)
        batch = put_batch({"image": image, "label": label}, self._mesh)
        folded = self.fold(variables)
        say_cost(
            lambda: self.step(folded, batch),
            self.num_batches(source),
            self.description,
            source,
            screen,
        )

    def outputs(
        self,
        compute: Callable[[Variables, Batch], Batch],
        variables: Variables,
        source: Source,
        screen: Screen,
    ) -> Arrays:
        """Returns what ``compute`` returns, arrays [B, ...], for every example.

        ``compute`` gets a device's part of a batch, with whole parameters.

        Raises:
          RunError: no image could be read.
        """
        step = jax.jit(
            jax.shard_map(
                compute,
                mesh=self._mesh,
                in_specs=(P(), P("data")),
                out_specs=P("data"),
                check_vma=False,
            )
        )
        with screen.progress("images", self.num_batches(source)) as progress:
            arrays, skipped = self.apply(step, variables, source, progress.advance)
        say_skipped(skipped, screen)
        return arrays

    def apply(
        self, step: Step, variables: Variables, source: Source, advance: Advance
    ) -> tuple[Arrays, tuple[str, ...]]:
        """As ``Evaluator.apply``; the step gets the network and batches."""

        def outputs() -> Iterator[Batch]:
            data, share = self._config.data, batch_share(self._mesh)
            for arrays in evaluation_batches(source, data, self._at_once, share):
                batch = put_batch(arrays, self._mesh)
                places = {key: batch.pop(key) for key in ("index", "mask")}
                yield step(variables, batch) | places

        return collect(outputs(), source, advance)

    @property
    def _batch_shape(self) -> tuple[int, int, int, int]:
        data = self._config.data
        return self._at_once, eval_size(data), eval_size(data), data.channels

    def _on_mesh(self, finish: Finish, variables: Variables, batch: Batch) -> Batch:
        """Splits ``image`` uint8 [B, H, W, C] and ``label`` int32 [B] over "data"."""
        specs = partition_specs(variables, self._model, self._mesh)
        return jax.shard_map(
            partial(self._on_device, finish),
            mesh=self._mesh,
            in_specs=(specs, P("data")),
            out_specs=P("data"),
            check_vma=False,
        )(variables, batch)

    def _on_device(self, finish: Finish, variables: Variables, batch: Batch) -> Batch:
        image = normalise(batch["image"], self._config.data)
        logits = self._model.apply(variables, image, train=False)
        return finish(logits, batch["label"])
