"""The worker of train_step.py for this project."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ours import open_program
from worker import serve

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.summary import totals
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.parallel.mesh import put_batch
from cnn_arch.training.program import Program

PRECISIONS = {"float32": "float32", "bf16": "bfloat16"}


def make_batch(program: Program) -> dict[str, jax.Array]:
    """Returns a batch of noise on the devices."""
    generator = np.random.default_rng(0)
    size, data = program.config.batch_size, program.config.data
    shape = (size, data.image_size, data.image_size, data.channels)
    image = generator.integers(0, 256, shape, np.uint8)
    label = generator.integers(0, program.num_classes, size, np.int32)
    return put_batch({"image": image, "label": label}, program.mesh)


def prepare(case: dict):
    """Compiles the steps; returns the facts and the passes."""
    program = open_program(
        [
            f"--config=configs/{case['recipe']}.py",
            f"--config.batch_size={case['batch_size']}",
            f"--config.precision={PRECISIONS[case['precision']]}",
            *case["words"],
        ]
    )
    config, mesh, data = program.config, program.mesh, program.config.data
    assert data.image_size == case["image_size"], "all sides use the same images"
    assert data.num_classes == case["num_classes"]
    evaluator = OneCrop(config, program.model, mesh)
    program.compile()
    evaluator.compile(program.variable_shapes)
    state, batch = program.initialise(), make_batch(program)
    folded = evaluator.fold(jax.tree.map(jnp.copy, state.variables))  # steps free them

    def train() -> None:
        nonlocal state
        state, metrics = program.train_step(state, batch)
        jax.block_until_ready((state, metrics))

    def forward() -> None:
        jax.block_until_ready(evaluator.step(folded, batch))

    square = jnp.ones((case["matmul_size"],) * 2, PRECISIONS[case["precision"]])
    product = jax.jit(jnp.matmul)
    rows = layer_costs(program.model, data.image_size, data.channels)
    device: Any = mesh.devices.flat[0]

    def peak_bytes() -> int | None:
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    facts = {
        "macs": totals(rows)["macs"],
        "versions": {"jax": jax.__version__},
        "device": str(device.device_kind),
        "peak_bytes": peak_bytes,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    return facts, {
        "train": train,
        "forward": forward,
        "matmul": lambda: product(square, square).block_until_ready(),
    }


if __name__ == "__main__":
    serve(prepare)
