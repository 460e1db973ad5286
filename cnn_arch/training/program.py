"""The program of a run: its network, optimizer, shapes and compiled training step."""

from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.checkpoints.state import TrainState
from cnn_arch.errors import UsageError
from cnn_arch.models import INIT_OPTIONS
from cnn_arch.models.build import build_model, head_layers
from cnn_arch.models.inspection import Layer, kernel_layers
from cnn_arch.ops.loops import rolled, unrolled
from cnn_arch.parallel import mesh as meshes
from cnn_arch.parallel import runtime
from cnn_arch.training import frozen, losses, optimizer, schedules, step

Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}


class Program:
    """The program of a run. It allocates no arrays before ``initialise``."""

    def __init__(
        self,
        config: ConfigDict,
        num_classes: int,
        mesh: Any,
        steps_per_epoch: int = 1000,
        *,
        loops: bool = True,
    ):
        """Traces the shapes; compiles nothing.

        Args:
          config: of the run.
          num_classes: the number of logits.
          mesh: of devices, or an ``AbstractMesh``, with which only `trace` works.
          steps_per_epoch: for the schedule of the learning rate.
          loops: as in ``build_model``.

        Raises:
          UsageError: the devices cannot share the network or the batch evenly.
        """
        meshes.check_batch_size(config.batch_size, mesh, config.accumulate)
        self.config, self.num_classes, self.mesh = config, num_classes, mesh
        self.model = build_model(config, num_classes, loops=loops)
        self.schedule = schedules.make_schedule(config, steps_per_epoch)
        self.head: set[frozen.Layer] = set()
        if config.optim.body_rate != 1.0 or config.freeze_epochs:
            self.head = head_layers(config, num_classes)
        self.optimizer = optimizer.make_optimizer(config, self.schedule, self.head)
        state_shapes = jax.eval_shape(self._fresh_state)
        # Trees of jax.ShapeDtypeStruct with shardings.
        self.state_shapes = meshes.abstract(state_shapes, self.model, mesh)
        size = config.data.image_size
        shape = config.batch_size, size, size, config.data.channels
        self.batch_shapes = meshes.abstract_batch(shape, mesh)
        # Layers whose gradients' norms the step returns, in the network's order.
        self.logged_layers = self._find_logged() if config.log.layer_gradients else []
        named, body = self._find_frozen()
        # (state, batch) -> (state, metrics). The new state takes the old one's memory.
        self.train_step = self._make_step(named)
        # Of the first steps, in which only the head learns.
        self.head_step = self._make_step(named | body)
        self.num_head_steps = round(config.freeze_epochs * steps_per_epoch)

    def step_at(self, number: int) -> Any:
        """Returns the training step that follows ``number`` updates."""
        return self.head_step if number < self.num_head_steps else self.train_step

    @property
    def variable_shapes(self) -> Variables:
        """The shapes of the network's variables, with shardings."""
        return self.state_shapes.variables

    def trace(self) -> Any:
        """Returns the traced training step, for ``lower`` or to be examined."""
        return self.train_step.trace(self.state_shapes, self.batch_shapes)

    def compile(self) -> None:
        """Compiles the training step and checks that it fits in memory.

        Raises:
          UsageError: it does not; the message names a batch size that does.
        """
        if self.num_head_steps:
            head_step = self.head_step.trace(self.state_shapes, self.batch_shapes)
            self.head_step = head_step.lower().compile()
        self.train_step = compiled = self.trace().lower().compile()
        analysis = compiled.memory_analysis()
        available = meshes.available_bytes(self.mesh)
        if analysis is None or available is None:
            return
        fixed = analysis.argument_size_in_bytes
        needed = fixed + analysis.temp_size_in_bytes
        if needed > available:
            share = max(0.0, (available - fixed) / analysis.temp_size_in_bytes)
            raise UsageError(
                f"--config.batch_size={self.config.batch_size}: a step needs "
                f"{needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are free; "
                f"{self._smaller(share)}"
            )
        # Kept free memory can hold the scratch arrays twice: see keep_freed_memory.
        if needed + analysis.temp_size_in_bytes > available:
            runtime.return_freed_memory()

    def _smaller(self, share: float) -> str:
        """Returns which batches need this share of the memory of a step's arrays."""
        size, accumulate = self.config.batch_size, self.config.accumulate
        unit = self.mesh.size * accumulate
        if not (fits := int(size * share) // unit * unit):
            return "not even one image would fit"
        rows = size // self.mesh.size  # of a device; an equal number is in each part
        parts = next(
            (
                n
                for n in range(accumulate, rows + 1)
                if not rows % n and accumulate <= n * share
            ),
            None,
        )
        in_parts = (
            f", or the same batch with --config.accumulate={parts}" if parts else ""
        )
        return f"about {fits} would fit{in_parts}"

    def initialise(
        self, start: Mapping[tuple[str, ...], Any] | None = None
    ) -> TrainState:
        """Returns the state before the first step.

        Arrays of ``start`` replace random ones. Their paths begin with the collection,
        ("params", "conv1", "kernel"), and are of blocks without loops.
        """
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state_shapes)
        initialise = jax.jit(
            self._fresh_state, out_shardings=shardings, compiler_options=INIT_OPTIONS
        )
        state = initialise()
        if not start:
            return state
        variables: Any = flatten_dict(unrolled(state.variables))
        variables = self.place({"batch_stats": {}, **unflatten_dict(variables | start)})
        return state.replace(**variables)

    def restore(self, checkpoints: Checkpoints) -> TrainState | None:
        """Returns the state of the newest undamaged checkpoint; None if there is none.

        Raises:
          RunError: all checkpoints are damaged.
          UsageError: they are from another network.
        """
        saved = checkpoints.restore(unrolled(self.state_shapes))
        return None if saved is None else rolled(saved, self.state_shapes)

    def observe(self, state: TrainState, error: float) -> TrainState:
        """Returns the state after an epoch with this validation error, in percent."""
        optim = self.config.optim
        if optim.schedule != "plateau":
            return state
        return state.replace(opt_state=schedules.observe(optim, state.opt_state, error))

    def restore_best(
        self, checkpoints: Checkpoints, *, averaged: bool = False
    ) -> tuple[Variables, int]:
        """Returns the variables with the lowest validation error, and their step.

        If ``averaged``, the parameters are their average in that step.

        Blocks are not in loops, and every device has all arrays: any process can write
        them to a file. ``place`` prepares them for the network.

        Raises:
          RunError: the checkpoint is damaged.
        """
        shapes = meshes.abstract(unrolled(self.variable_shapes), None, self.mesh)
        return checkpoints.restore_variables(shapes, averaged=averaged)

    def place(self, variables: Variables) -> Variables:
        """Returns variables as the network needs them: in loops, on their devices."""
        shapes = self.variable_shapes
        shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
        return jax.device_put(rolled(variables, shapes), shardings)

    def _make_step(self, layers: frozenset[frozen.Layer]) -> Any:
        """Returns the training step in which the given layers do not learn."""
        device_step = step.DeviceStep(
            self.config,
            self.model,
            self.optimizer,
            self.schedule,
            self.mesh,
            layers,
            losses.read_weights(self.config.class_weights, self.num_classes),
            self.logged_layers,
        )
        return jax.jit(device_step.step, donate_argnums=0)

    def _find_frozen(self) -> tuple[frozenset[frozen.Layer], frozenset[frozen.Layer]]:
        """Returns the layers that ``freeze`` names, and all but the head."""
        config, params = self.config, self.state_shapes.params
        if config.scan_blocks and (config.freeze or config.freeze_epochs):
            raise UsageError(
                "--config.scan_blocks=true: a loop cannot have frozen blocks; leave it "
                "out, or --config.freeze and --config.freeze_epochs"
            )
        named = frozen.find_layers(config.freeze, params)
        return named, frozen.all_layers(params) - self.head

    def _find_logged(self) -> list[Layer]:
        """Returns the layers with a kernel: a loop's blocks one by one."""
        model = build_model(self.config, self.num_classes, loops=False)
        data = self.config.data
        if layers := kernel_layers(model, data.image_size, data.channels):
            return layers
        raise UsageError(
            f"--config.log.layer_gradients=true: {self.config.model.name} has no layer "
            'with a parameter "kernel"; leave it out'
        )

    def _fresh_state(self) -> TrainState:
        return step.init_state(self.config, self.model, self.optimizer)
