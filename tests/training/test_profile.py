"""The layer of each operation in a profile."""

import jax
import jax.numpy as jnp
import pytest

from cnn_arch.training import profile


@pytest.mark.parametrize(
    ("path", "layer", "direction"),
    [
        ("jvp(VGG)/conv1_1/cond/branch_0_fun/dot_general", "conv1_1", "forward"),
        ("transpose(jvp(ResNet))/conv2_1/bn1/mul", "conv2_1/bn1", "backward"),
        ("transpose(jvp(N))/while/body/checkpoint/c2_loop/add", "c2_loop", "backward"),
        ("jvp()/sub", profile.OUTSIDE, ""),
        ("mul", profile.OUTSIDE, ""),
    ],
)
def test_an_operation_has_its_layer_and_direction(path, layer, direction):
    name = path.rpartition("/")[2]
    operation = profile.operation_of(f"jit(step)/{path}")
    assert operation == (layer, direction, name)


def test_the_time_of_a_trace_is_counted_by_layer(tmp_path):
    def layer(x, y):
        with jax.named_scope("jvp(Net)"), jax.named_scope("fc6"):
            return x @ y

    x = jnp.ones((600, 600))
    compiled = jax.jit(layer).lower(x, x).compile()
    compiled(x, x).block_until_ready()  # warms up
    with jax.profiler.trace(tmp_path):
        for _ in range(profile.NUM_STEPS):
            compiled(x, x).block_until_ready()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    program = compiled.as_text()
    assert program is not None
    seconds = profile.seconds_by_operation(trace, program)
    operation = profile.Operation("fc6", "forward", "dot_general")
    assert seconds[operation] > 0.5 * sum(seconds.values()) > 0
