"""The interface of all tests of a network, whatever the views of an image."""

from abc import ABC, abstractmethod
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch.data.sources import Source
from cnn_arch.data.views import eval_size
from cnn_arch.evaluation.results import Advance, Arrays, Results, finite_results
from cnn_arch.models.folding import Folding
from cnn_arch.screen import Screen

Variables = Any  # {"params": ..., "batch_stats": ...}


class Evaluator(ABC):
    """Evaluates every example of a split exactly once."""

    # ``judge`` applies ``step``, which returns an array [B] for each field of
    # ``Results`` but ``index``; ``predict`` applies ``predict_step``, which returns
    # ``log_probabilities``.
    step: Any
    predict_step: Any

    def __init__(self, config: ConfigDict, model: Any, mesh: Mesh):
        self.description: dict[str, Any] = {}  # for results.json
        self.more_tops: tuple[int, ...] = ()  # k of further top-k errors
        self.suffix = ""  # of the split, in results.json and in names of files
        self._config, self._model, self._mesh = config, model, mesh
        size = eval_size(config.data)
        # Steps take the variables that it returns: without BatchNorm layers.
        self.fold = Folding(model, (size, size, config.data.channels))
        # How many images of the training's size are in memory at once: as many as in a
        # training step, rounded up so that the devices share them evenly. Results do
        # not depend on it.
        at_once = -(-config.batch_size // config.accumulate)
        self._at_once = at_once + -at_once % mesh.size

    @abstractmethod
    def num_batches(self, source: Source) -> int:
        """Returns how often ``apply`` advances for a split."""

    @abstractmethod
    def prepare(self, variables: Variables, source: Source, screen: Screen) -> None:
        """Compiles the first step, and says what the evaluation will cost."""

    @abstractmethod
    def apply(
        self, step: Any, variables: Variables, source: Source, advance: Advance
    ) -> tuple[Arrays, tuple[str, ...]]:
        """Applies a step that returns arrays [B, ...] to every example exactly once.

        The step gets the variables as they are.

        Returns:
          As ``collect``; "index" has the positions in the split.

        Raises:
          RunError: no image could be read.
        """

    def judge(
        self, variables: Variables, source: Source, advance: Advance = lambda: None
    ) -> Results:
        """Evaluates a network on a split.

        Raises:
          RunError: a loss is not finite, or no image could be read.
        """
        arrays, skipped = self.apply(self.step, self.fold(variables), source, advance)
        return finite_results(arrays, skipped, source)

    def predict(
        self, variables: Variables, source: Source, advance: Advance = lambda: None
    ) -> tuple[Arrays, tuple[str, ...]]:
        """Returns ``log_probabilities`` of every example, as ``apply`` does."""
        return self.apply(self.predict_step, self.fold(variables), source, advance)
