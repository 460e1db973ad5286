"""Messages between devices, for programs whose messages are known by hand."""

import dataclasses
import json
from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from cnn_arch import choices, settings
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.scaling import collectives
from cnn_arch.scaling.collectives import Collective
from cnn_arch.scaling.traced_messages import joined, traced_collectives
from tests.test_analyze import run

SLOW = pytest.mark.slow
TWO_BY_TWO = {"data": 2, "model": 2}
OTHER_MESHES = (2, 2), (1, 8), (4, 1)


def compiled(function, mesh, *shapes_and_specs):
    """Returns the program of a function of float32 arrays with these shardings."""
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
        for shape, spec in shapes_and_specs
    ]
    return jax.jit(function).lower(*shapes).compile().as_text() or ""


def test_every_kind_of_message_that_a_program_names():
    """Bytes count the array that a group shares, not the part of one device."""
    mesh = jax.make_mesh((2, 2), ("data", "model"))

    def device_code(x, w):
        with jax.named_scope("first"):
            y = lax.all_gather(x, "model", axis=1, tiled=True) @ w  # [4, 8]
        with jax.named_scope("second"):
            y = lax.psum_scatter(y, "model", scatter_dimension=1, tiled=True)  # [4, 4]
        y = lax.ppermute(y, "data", [(0, 1), (1, 0)])
        with jax.named_scope("third"):
            return lax.psum(y, ("data", "model")), lax.pmax(y, "data")

    inputs, outputs = (P("data", "model"), P()), (P(), P(None, "model"))
    step = jax.shard_map(
        device_code, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False
    )
    program = compiled(step, mesh, ((8, 8), P("data", "model")), ((8, 8), P()))
    assert set(collectives.find(program, mesh.shape)) == {
        Collective("all-gather", ("model",), "first", "forward", 4 * 4 * 8, "us"),
        Collective("reduce-scatter", ("model",), "second", "forward", 4 * 4 * 8, "us"),
        Collective("collective-permute", ("data",), "", "forward", 4 * 4 * 4, "us"),
        Collective("all-reduce", ("data", "model"), "third", "forward", 64, "us"),
        Collective("all-reduce", ("data",), "third", "forward", 64, "us"),
    }


def test_messages_that_the_partitioner_adds():
    """A product whose summed axis is split, a shifted batch, a grouped convolution."""
    mesh = make_mesh(2, 2)

    def program(x, kernel, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=2
        )
        y = y.reshape(len(y), -1) @ w
        split = NamedSharding(mesh, P("data"))
        return lax.with_sharding_constraint(jnp.roll(y, 1, 0), split)

    arrays = ((8, 4, 4, 4), P("data")), ((3, 3, 2, 4), P()), ((64, 8), P("model"))
    found = collectives.find(compiled(program, mesh, *arrays), mesh.shape)
    assert {row.inserted_by for row in found} == {"partitioner"}
    sizes = {(row.kind, row.axes): row.bytes for row in found}
    assert len(found) == len(sizes) == 3
    assert sizes["all-gather", ("data",)] == 8 * 4 * 4 * 4 * 4  # the whole batch
    assert sizes["all-reduce", ("model",)] == 4 * 8 * 4
    assert ("collective-permute", ("data",)) in sizes


LINE = (
    "  %x.1 = f32[4,8]{1,0} all-reduce(%y), channel_id=1, replica_groups=GROUPS, "
    'use_global_device_ids=true, to_apply=%add, metadata={op_name="jit(f)/psum"}'
)


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        ("{{0,1},{2,3}}", ("model",)),
        ("{{0,2},{1,3}}", ("data",)),
        ("{{1,3},{2,0}}", ("data",)),
        ("{{0,1,2,3}}", ("data", "model")),
        ("{}", ("data", "model")),
        ("{{0,3},{1,2}}", ()),
        ("[2,2]<=[4]", ("model",)),
        ("[2,2]<=[2,2]T(1,0)", ("data",)),
        ("[1,4]<=[4]", ("data", "model")),
        ("mesh['data'=2,'model'=2] {'data'}", ("data",)),
        ("mesh['axis_0'=2,'axis_1'=2] {'axis_1'}", ("model",)),
        ("mesh['data'=2,'model'=2] {'data','model'}", ("data", "model")),
    ],
)
def test_groups_are_axes_of_the_mesh(groups, axes):
    (row,) = collectives.find(LINE.replace("GROUPS", groups), TWO_BY_TWO)
    assert row.axes == axes and row.bytes == 4 * 4 * 8


def test_a_message_with_arrays_of_several_layers():
    line = (
        "  %x = (f32[16]{0}, bf16[3,16]{1,0}, /*index=2*/pred[], f32[2]{0}) all-reduce"
        "(%a, %b, /*index=2*/%c, %d), replica_groups={{0,1},{2,3}}, to_apply=%add, "
        'metadata={op_name="jit(step)/shard_map/(gradients/psum:gradients/psum:'
        'metrics/psum:transpose(jvp(Net))/conv2_1/bn1/psum)" stack_frame_id=3}'
    )
    rows = collectives.find(line, TWO_BY_TWO)
    assert [(row.layer, row.direction, row.bytes) for row in rows] == [
        ("gradients", "backward", 4 * 16 + 2 * 3 * 16),
        ("metrics", "forward", 1),
        ("conv2_1/bn1", "backward", 8),
    ]


def test_messages_in_a_loop_count_once_for_each_round():
    mesh = jax.make_mesh((2, 2), ("data", "model"))

    def inner(x, _):
        with jax.named_scope("inner"):
            return lax.psum(jnp.sin(x), "model"), None

    def outer(x, _):
        with jax.named_scope("outer"):
            x = lax.psum(jnp.cos(x), "data")
        return lax.scan(inner, x, length=5)[0], None

    def both(x):
        return lax.scan(outer, lax.psum(x, ("data", "model")), length=3)[0]

    step = jax.shard_map(both, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
    found = collectives.find(compiled(step, mesh, ((4,), P())), mesh.shape)
    assert Counter((row.layer, row.axes, row.bytes) for row in found) == {
        ("", ("data", "model"), 16): 1,
        ("outer", ("data",), 16): 3,
        ("inner", ("model",), 16): 15,
    }


def recipe(name, data, model, *words):
    mesh = f"--config.mesh.data={data}", f"--config.mesh.model={model}"
    config, _ = settings.parse([f"--config=configs/{name}.py", *mesh, *words])
    return settings.derive(config, choices.placeholders(config))


@pytest.fixture(scope="module")
def resnet20():
    config = recipe("resnet20", 4, 1, "--config.batch_size=8")
    return collectives.of_config(config, make_mesh(4, 1))


@SLOW
def test_blocks_in_a_loop_send_as_much_as_one_by_one(resnet20):
    words = "--config.batch_size=8", "--config.scan_blocks=true"
    found = collectives.of_config(recipe("resnet20", 4, 1, *words), make_mesh(4, 1))
    norms = [row for row in found if "bn" in row.layer]
    assert len(norms) == 2 * 19
    assert "conv2_loop/bn1" in {row.layer for row in norms}
    assert sum(row.bytes for row in found) == sum(row.bytes for row in resnet20)


def test_an_operation_on_a_collective_is_no_message():
    line = "  ROOT %all-reduce.7 = f32[4]{0} fusion(%all-gather.1), calls=%fused"
    assert not collectives.find(line, TWO_BY_TWO)


def test_resnet20_sends_its_gradient_and_its_statistics(resnet20):
    sent = {(row.kind, row.axes, row.inserted_by) for row in resnet20}
    assert sent == {("all-reduce", ("data",), "us")}
    # Mean and mean square of 7 norms of 16 maps, 6 of 32 and 6 of 64; in the backward
    # pass the gradients of scale and shift.
    statistics = 2 * 4 * (7 * 16 + 6 * 32 + 6 * 64)
    norms = [row for row in resnet20 if "bn" in row.layer]
    for direction in "forward", "backward":
        sizes = [row.bytes for row in norms if row.direction == direction]
        assert (len(sizes), sum(sizes)) == (19, statistics)
    # 269,722 parameters, and the metrics loss and error.
    others = sum(row.bytes for row in resnet20 if row not in norms)
    assert others == 4 * 269_722 + 4 + 4


IMAGE_SIZE, NUM_CLASSES, BATCH = 67, 16, 16  # the smallest images for AlexNet


def alexnet(data, parts, *words):
    groups = f"--config.model.fields.groups={parts}"
    return recipe("alexnet", data, parts, groups, *words)


# Settings that compile in seconds.
SMALL = (
    f"--config.data.num_classes={NUM_CLASSES}",
    f"--config.data.image_size={IMAGE_SIZE}",
    f"--config.batch_size={BATCH}",
)


def num_parameters(groups):
    """Counts by hand: after the last pool, 256 maps of 1x1 px remain."""
    kernels = 11 * 11 * 3 * 96 + 5 * 5 * 96 // groups * 256 + 3 * 3 * 256 * 384
    kernels += 3 * 3 * 384 // groups * (384 + 256)
    kernels += 256 * 4096 + 4096 * 4096 + 4096 * NUM_CLASSES
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + NUM_CLASSES
    return kernels + biases


def expected(data, parts):
    """Lists all messages between AlexNet's parts."""
    gathered = {"conv3": 3 * 3 * 256, "fc6": 256, "fc7": 4096, "fc8": 4096}
    gradients = 4 * num_parameters(parts) // parts
    rows = [
        Collective("all-reduce", ("data",), "gradients", "backward", gradients, "us"),
        # Loss and error; the gradient's norm, to which each part contributes.
        Collective("all-reduce", ("data",), "metrics", "forward", 8, "us"),
        Collective("all-reduce", ("model",), "metrics", "forward", 4, "us"),
    ]
    for layer, features in {**gathered, "logits": NUM_CLASSES}.items():
        size = 4 * BATCH // data * features
        rows += [
            Collective("all-gather", ("model",), layer, "forward", size, "us"),
            Collective("reduce-scatter", ("model",), layer, "backward", size, "us"),
        ]
    return Counter(rows)


@pytest.mark.parametrize("parts", [2, pytest.param(4, marks=SLOW)])
def test_alexnet_exchanges_exactly_these_messages(parts):
    config = alexnet(2, parts, *SMALL)
    found = collectives.of_config(config, make_mesh(2, parts))
    assert Counter(found) == expected(2, parts)
    traced = joined(traced_collectives(config, 2, parts), 1)
    assert Counter(traced) == expected(2, parts)  # without compiling


@SLOW
def test_alexnet_on_sixteen_devices_of_a_laptop():
    """As a user runs it, without any flags: the command opens the devices."""
    words = "--config=configs/alexnet.py", "--collectives", "--format=json"
    mesh = "--config.mesh.data=2", "--config.mesh.model=8"
    result = run(*words, *mesh, "--config.model.fields.groups=8", *SMALL, "--batch=16")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    for row in rows:
        assert list(row) == ["kind", "axes", "layer", "pass", "bytes", "inserted_by"]
    assert Counter(
        Collective(row.pop("kind"), tuple(row.pop("axes")), *row.values())
        for row in rows
    ) == expected(2, 8)


@pytest.mark.parametrize(
    ("data", "parts"), [(2, 4), *(pytest.param(*m, marks=SLOW) for m in OTHER_MESHES)]
)
def test_each_device_does_its_share_of_the_work(data, parts):
    """At the paper's size; only the update of shared parameters is repeated."""
    config = alexnet(data, parts)
    whole = collectives.device_flops(config, make_mesh(1, 1))
    share = collectives.device_flops(config, make_mesh(data, parts))
    assert whole and share
    assert share == pytest.approx(whole / (data * parts), rel=0.02)


@pytest.mark.parametrize(
    ("name", "data", "model", "size"),
    [
        pytest.param("alexnet_owt", 2, 2, 63, marks=SLOW),
        pytest.param("resnet20", 4, 1, 32, marks=SLOW),
        pytest.param("vgg11_bn", 2, 2, 32, marks=SLOW),
    ],
)
def test_the_trace_has_the_messages_of_the_compiled_step(name, data, model, size):
    config = recipe(name, data, model, *SMALL, f"--config.data.image_size={size}")

    def sums(rows):
        total = Counter()
        for row in rows:
            total[dataclasses.replace(row, bytes=0)] += row.bytes
        return total

    compiled_rows = collectives.of_config(config, make_mesh(data, model))
    assert sums(compiled_rows) == sums(traced_collectives(config, data, model))
