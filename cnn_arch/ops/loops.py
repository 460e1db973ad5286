"""Equal blocks as one loop, so that a deep network compiles as fast as a shallow one.

A loop has the variables of its blocks, stacked: ``conv2_loop`` [n, ...] has those that
``conv2_2`` to ``conv2_{n+1}`` have without the loop. Checkpoints and files of weights
store them block by block.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

SUFFIX = "_loop"
FIRST = 2  # the index of a loop's first block; a stage's first block may differ


class Depth(NamedTuple):
    """How a stage applies its equal blocks; neither field changes the result."""

    scan: bool  # all but the first as one loop
    # Keep only the blocks' inputs for the backward pass, which computes the rest again
    # (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
    remat: bool


def run_stage(
    make_block: Callable[..., nn.Module], stage: int, size: int, depth: Depth, x: Any
) -> jax.Array:
    """Applies the ``size`` blocks ``conv2_1``, ``conv2_2``, ... of a residual net.

    ``make_block`` takes ``stride`` and ``name``. Stage 2 is the first; every later one
    halves the maps [B, H, W, C].
    """

    def apply(block: nn.Module, x: jax.Array) -> jax.Array:
        return block(x)

    def apply_in_loop(block: nn.Module, x: jax.Array) -> tuple[jax.Array, None]:
        return run(block, x), None

    # XLA cannot merge computations across a loop: the costly protection is needless.
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
        variable_axes={"params": 0, "batch_stats": 0, "moments": 0},
        split_rngs={"params": True},
        length=size - 1,
    )
    return loop(make_block(stride=1, name=f"conv{stage}{SUFFIX}"), x)[0]


def unrolled(tree: Any) -> Any:
    """Returns variables, or a whole training state, block by block.

    The leaves are arrays or jax.ShapeDtypeStruct.
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
    """Undoes ``unrolled``; the result has the loops of ``like``."""

    def visit(mapping: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in wanted.items():
            if not name.endswith(SUFFIX):
                out[name] = rolled(mapping[name], value)
                continue
            stage, size = name.removesuffix(SUFFIX), len(jax.tree.leaves(value)[0])
            blocks = [mapping[f"{stage}_{FIRST + index}"] for index in range(size)]
            out[name] = jax.tree.map(
                lambda *leaves: jax.jit(jnp.stack)(leaves), *blocks
            )
        return out

    return _map_mappings(visit, tree, like)


def _map_mappings(visit: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Applies a function to the outermost mappings of a tree; keeps other leaves."""

    def is_mapping(node: Any) -> bool:
        return isinstance(node, Mapping)

    def visit_mapping(node: Any, *others: Any) -> Any:
        return visit(node, *others) if is_mapping(node) else node

    return jax.tree.map(visit_mapping, tree, *others, is_leaf=is_mapping)


def _unstack(leaf: Any) -> list[Any]:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return [leaf.update(shape=leaf.shape[1:])] * leaf.shape[0]
    return jax.jit(jnp.unstack)(leaf)
