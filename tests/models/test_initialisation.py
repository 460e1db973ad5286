"""Fresh variables against each paper's initialisation."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnn_arch.models import INIT_OPTIONS, create_model, init_variables
from tests.initial_values import CAFFE_ALEXNET, GLOROT, KEPT, STARTS
from tests.models.conftest import KINDS, fresh_variables, mark_slow, with_heads
from tests.paper_tables import TOTALS

# Weights of other shapes would each take a compilation. Fans: 360, and 60 or 540.
SHAPES = {1: (2000,), 2: (360, 60), 4: (3, 3, 40, 60)}
LIMITS = {"uniform": np.sqrt(3), "truncated": 2 / KEPT, "normal": np.inf}
REACHED = {"uniform": 1.72, "truncated": 2.2, "normal": 2.9}  # by 2,000 draws


DRAWN = {}


def draw(init, shape):
    """Draws one array, once for equal initialisers; the generator compiles fast."""
    constants = [repr(cell.cell_contents) for cell in init.__closure__ or ()]
    same = init.__qualname__, *constants, shape
    if same not in DRAWN:
        key = jax.random.key(0, impl="unsafe_rbg")
        compiled = jax.jit(init, static_argnums=1, compiler_options=INIT_OPTIONS)
        DRAWN[same] = np.asarray(compiled(key, shape), np.float64)
    return DRAWN[same]


def initialisers(name, monkeypatch, **fields):
    """Returns the initialiser and the shape of every parameter, by its path."""
    found = {}
    param = nn.Module.param

    def note(module, array, init, *arguments, **options):
        found["/".join(module.path), array] = init, arguments[0]
        return param(module, array, init, *arguments, **options)

    _, _, image_size, channels, _ = TOTALS[name]
    model = create_model(name, 10, **with_heads(name), **fields)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "param", note)
        jax.eval_shape(
            lambda key: init_variables(model, key, image_size, channels),
            jax.random.key(0),
        )
    return found


@pytest.mark.parametrize("name", mark_slow(TOTALS, {*KINDS} - {"inception_v3"}))
def test_every_layer_starts_as_its_paper_says(name, monkeypatch):
    starts = next(STARTS[key] for key in STARTS if name.startswith(key))
    check_starts(initialisers(name, monkeypatch), starts)


@pytest.mark.parametrize(
    ("name", "field", "value", "starts"),
    [
        ("alexnet", "initial_bias", 0.1, CAFFE_ALEXNET),
        ("vgg11", "initialisation", "glorot", {".*": GLOROT}),
    ],
)
def test_layers_of_a_short_run_start_as_told(name, field, value, starts, monkeypatch):
    check_starts(initialisers(name, monkeypatch, **{field: value}), starts)


def check_starts(found, starts):
    used = set()
    for (path, array), (init, shape) in found.items():
        pattern = next(each for each in starts if re.fullmatch(each, path))
        kind, deviation, bias = starts[pattern]
        used.add(pattern)
        drawn = draw(init, SHAPES.get(len(shape), shape))
        if array in ("bias", "scale"):
            is_norm = re.search(r"(^|/|_)bn\d?$", path)
            expected = float(array == "scale") if is_norm else bias
            np.testing.assert_array_equal(drawn, np.float32(expected), path)
            continue
        fan_in = np.prod(drawn.shape[:-1])
        fan_out = np.prod(drawn.shape[:-2]) * drawn.shape[-1]
        standard = drawn / deviation(fan_in, fan_out)
        error = 5 / np.sqrt(drawn.size)
        assert abs(standard.mean()) < error, path
        assert abs(standard.std() - 1) < error, path
        assert REACHED[kind] < np.abs(standard).max() <= LIMITS[kind] * 1.001, path
    assert used == set(starts)


def test_the_program_of_training_draws_so():
    """LeCun et al. 1998, Appendix A: uniform in 2.4 / fan-in."""
    params = fresh_variables(create_model("lenet5", 10), 32, 1)["params"]
    for layer, fan_in in {"C1": 25, "C5": 400, "F6": 120}.items():
        kernel = np.abs(params[layer]["kernel"])
        assert 0.9 * 2.4 / fan_in < kernel.max() <= 2.4 / fan_in


def test_initial_values_are_traced_in_the_plain_forms_alone():
    """A trace of both forms takes longer; a step after it has both again."""
    model = create_model("lenet5")
    image = jnp.zeros((1, 32, 32, 1))

    def step(key):
        variables = init_variables(model, key, 32, 1)
        return model.apply(variables, image, train=False)

    def count(function):
        return str(jax.make_jaxpr(function)(jax.random.key(0))).count("platform_index")

    assert count(partial(init_variables, model, image_size=32, channels=1)) == 0
    assert count(step) > 0
