"""Which layer the time of an operation is counted to."""

import jax
import jax.numpy as jnp
import pytest

from cnn_arch.training import profile

STEP = "jit(device_step)/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            f"{STEP}jvp(VGG)/conv1_1/cond/branch_0_fun/conv_general_dilated",
            ("conv1_1", "forward", "conv_general_dilated"),
        ),
        (
            f"{STEP}transpose(jvp(ResNet))/conv2_1/bn1/reduce_sum",
            ("conv2_1/bn1", "backward", "reduce_sum"),
        ),
        (
            f"{STEP}transpose(jvp(CifarResNet))/while/body/checkpoint/conv2_loop/add",
            ("conv2_loop", "backward", "add"),
        ),
        (f"{STEP}jvp()/sub", (profile.OUTSIDE, "", "sub")),
        (f"{STEP}mul", (profile.OUTSIDE, "", "mul")),
    ],
)
def test_where_an_operation_comes_from(path, expected):
    assert profile.operation_of(path) == expected


def test_a_trace_is_counted_by_its_program(tmp_path):
    def layer(x, y):
        with jax.named_scope("jvp(Net)"), jax.named_scope("fc6"):
            return x @ y

    x = jnp.ones((600, 600))
    compiled = jax.jit(layer).lower(x, x).compile()
    compiled(x, x).block_until_ready()
    with jax.profiler.trace(tmp_path):
        for _ in range(profile.NUM_STEPS):
            compiled(x, x).block_until_ready()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    program = compiled.as_text()
    assert program is not None
    seconds = profile.seconds_by_operation(trace, program)
    operation = profile.Operation("fc6", "forward", "dot_general")
    assert seconds[operation] > 0.5 * sum(seconds.values()) > 0
