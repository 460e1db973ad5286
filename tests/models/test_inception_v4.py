"""Inception-v4 in TF-Slim's order, compared with timm's, and its auxiliary head.

``TIMM`` transcribes timm/models/inception_v4.py of huggingface/pytorch-image-models:
each function is a class's ``forward``. TF-Slim's inception_v4.py has the same order.
"""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from cnn_arch.costs.blocks import find_layers
from cnn_arch.costs.layers import layer_costs
from cnn_arch.models import create_model
from tests.models.conftest import abstract_variables, num_params
from tests.paper_tables import AUX_PARAMS, TOTALS

# A map is (side, how it was made).


def window(kind: str, x: Any, size: Any, stride: int, padding: Any) -> Any:
    sides = [
        (x[0] + 2 * p - s) // stride + 1 for s, p in zip(size, padding, strict=True)
    ]
    assert sides[0] == sides[1]
    return sides[0], (kind, size, stride, x[1])


def conv(x: Any, width: int, size: Any, stride: int = 1, padding: Any = 0) -> Any:
    size = (size, size) if isinstance(size, int) else size
    padding = (padding, padding) if isinstance(padding, int) else padding
    side, made = window("conv", x, size, stride, padding)
    return side, (width, *made)


def max_pool(x):
    return window("max_pool", x, (3, 3), 2, (0, 0))


def avg_pool(x):
    return window("avg_pool", x, (3, 3), 1, (1, 1))


def cat(*xs: Any) -> Any:
    assert len({side for side, _ in xs}) == 1
    return xs[0][0], ("concatenate", *(made for _, made in xs))


def mixed_4a(x):
    x0 = conv(conv(x, 64, 1), 96, 3)
    x1 = conv(conv(x, 64, 1), 64, (1, 7), padding=(0, 3))
    return cat(x0, conv(conv(x1, 64, (7, 1), padding=(3, 0)), 96, 3))


def stem(x):
    x = conv(conv(conv(x, 32, 3, 2), 32, 3), 64, 3, padding=1)
    x = mixed_4a(cat(max_pool(x), conv(x, 96, 3, 2)))  # after Mixed3a
    return cat(conv(x, 192, 3, 2), max_pool(x))  # Mixed5a


def inception_a(x):
    x1 = conv(conv(x, 64, 1), 96, 3, padding=1)
    x2 = conv(conv(conv(x, 64, 1), 96, 3, padding=1), 96, 3, padding=1)
    return cat(conv(x, 96, 1), x1, x2, conv(avg_pool(x), 96, 1))


def reduction_a(x):
    x1 = conv(conv(conv(x, 192, 1), 224, 3, padding=1), 256, 3, 2)
    return cat(conv(x, 384, 3, 2), x1, max_pool(x))


def inception_b(x):
    across: Any = {"size": (1, 7), "padding": (0, 3)}
    down: Any = {"size": (7, 1), "padding": (3, 0)}
    x1 = conv(conv(conv(x, 192, 1), 224, **across), 256, **down)
    x2 = conv(conv(conv(x, 192, 1), 192, **down), 224, **across)
    x2 = conv(conv(x2, 224, **down), 256, **across)
    return cat(conv(x, 384, 1), x1, x2, conv(avg_pool(x), 128, 1))


def reduction_b(x):
    x1 = conv(conv(x, 256, 1), 256, (1, 7), padding=(0, 3))
    x1 = conv(conv(x1, 320, (7, 1), padding=(3, 0)), 320, 3, 2)
    return cat(conv(conv(x, 192, 1), 192, 3, 2), x1, max_pool(x))


def inception_c(x):
    across: Any = {"size": (1, 3), "padding": (0, 1)}
    down: Any = {"size": (3, 1), "padding": (1, 0)}
    x1 = conv(x, 384, 1)
    x1 = cat(conv(x1, 256, **across), conv(x1, 256, **down))
    x2 = conv(conv(conv(x, 384, 1), 448, **down), 512, **across)
    x2 = cat(conv(x2, 256, **across), conv(x2, 256, **down))
    return cat(conv(x, 256, 1), x1, x2, conv(avg_pool(x), 256, 1))


TIMM = {
    "stem": stem,
    **{f"Mixed_5{letter}": inception_a for letter in "bcde"},
    "Mixed_6a": reduction_a,
    **{f"Mixed_6{letter}": inception_b for letter in "bcdefgh"},
    "Mixed_7a": reduction_b,
    **{f"Mixed_7{letter}": inception_c for letter in "bcd"},
}


def test_tf_slims_order_is_timms():
    rows = layer_costs(create_model("inception_v4", tf_slim=True), 299, 3)
    layers = {layer.name: layer for layer in find_layers(rows)}

    def made(name, block):
        """Says how a layer is made from the input of its block."""
        layer = layers[name]
        if not name.startswith(f"{block}/"):
            return "input"
        sources = [made(source, block) for source in layer.inputs]
        if layer.kind == "concatenate":
            return layer.kind, *sources
        own = layer.kind, layer.window, layer.stride, *sources
        return (layer.output_shape[-1], *own) if layer.kind == "conv" else own

    side, before = 299, "input"
    for block, forward in TIMM.items():
        side, expected = forward((side, "input"))
        last = [name for name in layers if name.startswith(f"{block}/")][-1]
        assert made(last, block) == expected, block
        assert layers[last].output_shape[:2] == (side, side)
        entries = {
            source
            for name in layers
            if name.startswith(f"{block}/")
            for source in layers[name].inputs
            if not source.startswith(f"{block}/")
        }
        assert entries == {before}
        before = last
    assert layers["pool"].inputs == (before,)


@functools.cache
def params_of(**fields):
    return abstract_variables(create_model("inception_v4", **fields), 299)["params"]


def shapes_of(**fields):
    leaves = jax.tree_util.tree_leaves_with_path(params_of(**fields))
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


@pytest.mark.slow
def test_36_convolutions_and_three_parallel_pairs_have_another_order():
    figures, slim = shapes_of(), shapes_of(tf_slim=True)
    assert figures.keys() == slim.keys()
    others = [path for path in figures if figures[path] != slim[path]]
    pairs = [path for path in others if "_4a" in path or "_4b" in path]
    assert (len(others) - len(pairs), len(pairs)) == (36, 6)
    assert sum("stem" in path for path in others) == 2
    assert sum("Mixed_6" in path for path in others) == 7 * 4
    assert sum("Mixed_7" in path for path in others) == 3 * 2 + 6
    assert num_params(params_of()) == num_params(params_of(tf_slim=True))


@pytest.mark.slow
def test_the_head_reads_mixed_6h_and_only_training_has_it():
    model = create_model("inception_v4", aux_heads=True)
    with_head, without = params_of(aux_heads=True), params_of()
    assert num_params(with_head["aux"]) == AUX_PARAMS["inception_v4"]
    assert {key: with_head[key] for key in without} == without
    variables = abstract_variables(model, 299)
    image = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    kept = ["batch_stats", "aux_logits"]
    apply = partial(model.apply, mutable=kept, rngs={"dropout": jax.random.key(0)})
    trained = jax.eval_shape(partial(apply, train=True), variables, image)[1]
    assert trained["aux_logits"]["aux"]["logits"].shape == (2, 1000)
    bare = {key: dict(tree) for key, tree in variables.items()}
    for tree in bare.values():
        tree.pop("aux")  # weights without the head evaluate
    logits, evaluated = jax.eval_shape(partial(apply, train=False), bare, image)
    assert logits.shape == (2, 1000) and "aux_logits" not in evaluated


@pytest.mark.slow
def test_the_head_costs_nothing_outside_of_training():
    rows = layer_costs(create_model("inception_v4", aux_heads=True), 299, 3)
    head = [row for row in rows if row.auxiliary]
    assert head[0].inputs == ("Mixed_6h/concatenate",)
    # TF-Slim: 5x5 mean of stride 3; 1x1, 128; 5x5, 768; dense.
    assert [row.output_shape for row in head if row.macs] == [
        (5, 5, 128),
        (1, 1, 768),
        (1000,),
    ]
    assert sum(row.macs for row in head) == 25 * 131_072 + 2_457_600 + 768_000
    main = [row for row in rows if not row.auxiliary]
    assert main == layer_costs(create_model("inception_v4"), 299, 3)
    assert sum(row.macs for row in main) == TOTALS["inception_v4"][1]
