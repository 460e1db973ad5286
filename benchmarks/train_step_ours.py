"""This project's side of train_step.py."""

import os

import jax
import jax.numpy as jnp
import numpy as np
from ours import open_program
from worker import serve

from cnn_arch import session
from cnn_arch.costs.layers import count_macs
from cnn_arch.models import INIT_OPTIONS
from cnn_arch.parallel.mesh import put_batch, replicated

PRECISIONS = {"float32": "float32", "bf16": "bfloat16"}


def prepare(case: dict):
    """Compiles the steps; returns what they are, and the passes."""
    program = open_program(
        [
            f"--config=configs/{case['recipe']}.py",
            f"--config.batch_size={case['batch_size']}",
            f"--config.precision={PRECISIONS[case['precision']]}",
            *case["words"],
        ]
    )
    config, mesh, data = program.config, program.mesh, program.config.data
    assert data.image_size == case["image_size"], "the sides see images of one size"
    assert data.num_classes == case["num_classes"]
    state = jax.jit(
        program.fresh_state,
        out_shardings=replicated(mesh),
        compiler_options=INIT_OPTIONS,
    )()
    train_step = session.compile_step(
        program.train_step, (program.state_shapes, program.batch_shapes), config, mesh
    )
    generator = np.random.default_rng(0)
    shape = (config.batch_size, data.image_size, data.image_size, data.channels)
    batch = {
        "image": generator.integers(0, 256, shape, np.uint8),
        "label": generator.integers(0, data.num_classes, shape[0], np.int32),
    }
    batch = put_batch(batch, mesh)
    eval_step = program.eval_step
    eval_step = eval_step.lower(state.params, state.batch_stats, batch).compile()

    def train() -> None:
        nonlocal state
        state, metrics = train_step(state, batch)
        jax.block_until_ready((state, metrics))

    def forward() -> None:
        jax.block_until_ready(eval_step(state.params, state.batch_stats, batch))

    size = case["matmul_size"]
    square = jnp.ones((size, size), PRECISIONS[case["precision"]])
    product = jax.jit(jnp.matmul)
    facts = {
        "macs": count_macs(program.model, data.image_size, data.channels),
        "versions": {"jax": jax.__version__},
        "device": str(mesh.devices.flat[0].device_kind),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    return facts, {
        "train": train,
        "forward": forward,
        "matmul": lambda: product(square, square).block_until_ready(),
    }


if __name__ == "__main__":
    serve(prepare)
