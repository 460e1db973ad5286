"""A network over whole images: the map of its logits."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from cnn_arch.errors import UsageError
from cnn_arch.models import init_variables
from cnn_arch.models.layers import GlobalAvgPool
from cnn_arch.ops.sliding import Windows, sliding

STEP = 32  # px, by which the trial image of ``check_class_map`` is larger


def class_map(
    model: nn.Module, variables: Any, image: jax.Array, windows: Windows
) -> jax.Array:
    """Returns the logits at each position of images [B, H, W, C]: [B, h, w, K].

    With images of the training's size, h = w = 1. A network of a user's own that
    averages its map itself returns [B, K].

    Args:
      model: the network.
      variables: parameters and statistics, as for one image size.
      image: normalised, at least as large as in training.
      windows: of ``window_sides``.
    """
    with sliding(windows):
        found: Any = model.apply(variables, image, train=False)
    return found


def window_sides(model: nn.Module, size: int, channels: int) -> dict[str, int]:
    """Returns the sides of the maps that are averaged, for square images of a size."""
    sides: dict[str, int] = {}

    def note(
        next_function: Callable[..., Any], args: Any, kwargs: Any, context: Any
    ) -> Any:
        if isinstance(context.module, GlobalAvgPool):
            sides["/".join(context.module.path)] = args[0].shape[1]
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        _shapes(model, size, channels)
    return sides


def check_class_map(model: nn.Module, name: str, size: int, channels: int) -> None:
    """Checks that a network can slide over images larger than its own size.

    Raises:
      UsageError: a layer needs images of one size.
    """
    windows = window_sides(model, size, channels)
    image = jax.ShapeDtypeStruct((1, size + STEP, size + 2 * STEP, channels), "float32")
    try:
        jax.eval_shape(
            lambda variables, image: class_map(model, variables, image, windows),
            _shapes(model, size, channels),
            image,
        )
    except Exception as error:  # a network of the user's own may raise anything
        raise UsageError(
            f"{name} has a layer for images of {size} px only "
            f"({type(error).__name__} with others)"
        ) from error


def _shapes(model: nn.Module, size: int, channels: int) -> Any:
    return jax.eval_shape(
        lambda key: init_variables(model, key, size, channels), jax.random.key(0)
    )
