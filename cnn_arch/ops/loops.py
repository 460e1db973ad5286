"""Equal blocks as one loop, so that depth costs no time to compile.

A loop's variables are those of its blocks, stacked: ``conv2_loop`` [n, ...] holds what
``conv2_2`` to ``conv2_{n+1}`` are otherwise. Whatever leaves the training program
(checkpoints, files of weights) has them block by block.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

SUFFIX = "_loop"
FIRST = 2  # the index of a loop's first block; a stage's first one is another


class Depth(NamedTuple):
    """How a stage's equal blocks are applied; neither changes what they compute."""

    scan: bool  # all but the first as one loop
    # Keep only the blocks' inputs for the backward pass, which computes the rest again
    # (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
    remat: bool


def run_stage(
    make_block: Callable[..., nn.Module], stage: int, size: int, depth: Depth, x: Any
) -> jax.Array:
    """Applies the blocks ``conv2_1``, ``conv2_2``, ... of a stage of a residual net.

    Args:
      make_block: takes ``stride`` and ``name``.
      stage: its number; 2 is the first, and all others halve the maps.
      size: number of blocks.
      depth: how they are applied.
      x: [B, H, W, C].
    """

    def apply(block: nn.Module, x: jax.Array) -> jax.Array:
        return block(x)

    def apply_in_loop(block: nn.Module, x: jax.Array) -> tuple[jax.Array, None]:
        return run(block, x), None

    # Inside a loop nothing could be merged with the first computation anyway.
    run: Any = nn.remat(apply, prevent_cse=not depth.scan) if depth.remat else apply
    x = run(make_block(stride=1 if stage == 2 else 2, name=f"conv{stage}_1"), x)
    if not depth.scan:
        for index in range(FIRST, size + 1):
            x = run(make_block(stride=1, name=f"conv{stage}_{index}"), x)
        return x
    if size < FIRST:
        return x
    loop = nn.scan(
        apply_in_loop,
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=size - 1,
    )
    return loop(make_block(stride=1, name=f"conv{stage}{SUFFIX}"), x)[0]


def unrolled(tree: Any) -> Any:
    """Returns a tree of variables or a state of training block by block.

    Args:
      tree: of arrays or of jax.ShapeDtypeStruct; one without loops is returned as is.
    """

    def unroll(name: str, stacked: Any) -> dict[str, Any]:
        leaves, structure = jax.tree.flatten(stacked)
        blocks = zip(*map(_unstack, leaves), strict=True)
        stage = name.removesuffix(SUFFIX)
        return {
            f"{stage}_{index}": structure.unflatten(block)
            for index, block in enumerate(blocks, start=FIRST)
        }

    def visit(mapping: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in mapping.items():
            is_loop = name.endswith(SUFFIX)
            out |= unroll(name, value) if is_loop else {name: unrolled(value)}
        return out

    return _map_mappings(visit, tree)


def rolled(tree: Any, like: Any) -> Any:
    """Undoes ``unrolled``.

    Args:
      tree: what ``unrolled`` has returned.
      like: a tree with the loops that the result shall have.
    """

    def visit(mapping: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in wanted.items():
            if not name.endswith(SUFFIX):
                out[name] = rolled(mapping[name], value)
                continue
            stage, size = name.removesuffix(SUFFIX), len(jax.tree.leaves(value)[0])
            blocks = [mapping[f"{stage}_{FIRST + index}"] for index in range(size)]
            out[name] = jax.tree.map(lambda *leaves: _stack(leaves), *blocks)
        return out

    return _map_mappings(visit, tree, like)


def _map_mappings(visit: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Applies a function to the outermost mappings of dataclasses and tuples."""
    if isinstance(tree, Mapping):
        return visit(tree, *others)
    if dataclasses.is_dataclass(tree):
        fields = [field.name for field in dataclasses.fields(tree)]
        parts = ([getattr(each, name) for each in (tree, *others)] for name in fields)
        values = (_map_mappings(visit, *part) for part in parts)
        return type(tree)(**dict(zip(fields, values, strict=True)))  # type: ignore[operator]
    if isinstance(tree, tuple):
        parts = zip(tree, *others, strict=True)
        values = [_map_mappings(visit, *part) for part in parts]
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return tree


def _unstack(leaf: Any) -> list[Any]:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return [leaf.update(shape=leaf.shape[1:])] * leaf.shape[0]
    return jax.jit(jnp.unstack)(leaf)


def _stack(leaves: tuple[jax.Array, ...]) -> jax.Array:
    return jax.jit(jnp.stack)(leaves)
