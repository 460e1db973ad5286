"""What devices exchange: programs whose messages are known by hand."""

import json
from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from cnn_arch import settings
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.scaling import collectives
from cnn_arch.scaling.collectives import Collective
from cnn_arch.scaling.traced_messages import joined, traced_collectives
from tests.test_analyze import run

TWO_BY_TWO = {"data": 2, "model": 2}


def compiled(function, mesh, *shapes_and_specs):
    """Returns the program of a function of float32 arrays that lie as specs say."""
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
        for shape, spec in shapes_and_specs
    ]
    return jax.jit(function).lower(*shapes).compile().as_text() or ""


def test_every_kind_that_is_written_out():
    """Bytes are those of the array that a group shares, and not of a device's part."""
    mesh = jax.make_mesh((2, 2), ("data", "model"))

    def device_code(x, w):
        with jax.named_scope("first"):
            y = lax.all_gather(x, "model", axis=1, tiled=True) @ w  # [4, 8]
        with jax.named_scope("second"):
            y = lax.psum_scatter(y, "model", scatter_dimension=1, tiled=True)  # [4, 4]
        y = lax.ppermute(y, "data", [(0, 1), (1, 0)])
        with jax.named_scope("third"):
            return lax.psum(y, ("data", "model")), lax.pmax(y, "data")

    step = jax.shard_map(
        device_code,
        mesh=mesh,
        in_specs=(P("data", "model"), P()),
        out_specs=(P(), P(None, "model")),
        check_vma=False,
    )
    program = compiled(step, mesh, ((8, 8), P("data", "model")), ((8, 8), P()))
    assert set(collectives.find(program, mesh.shape)) == {
        Collective("all-gather", ("model",), "first", "forward", 4 * 4 * 8, "us"),
        Collective("reduce-scatter", ("model",), "second", "forward", 4 * 4 * 8, "us"),
        Collective("collective-permute", ("data",), "", "forward", 4 * 4 * 4, "us"),
        Collective("all-reduce", ("data", "model"), "third", "forward", 64, "us"),
        Collective("all-reduce", ("data",), "third", "forward", 64, "us"),
    }


def test_what_the_partitioner_inserts():
    """A product whose summed axis is spread, a shifted batch, a grouped convolution."""
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )

    def program(x, kernel, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=numbers,
            feature_group_count=2,
        )
        y = y.reshape(len(y), -1) @ w
        spread = NamedSharding(mesh, P("data"))
        return lax.with_sharding_constraint(jnp.roll(y, 1, 0), spread)

    text = compiled(
        program,
        mesh,
        ((8, 4, 4, 4), P("data")),
        ((3, 3, 2, 4), P()),
        ((64, 8), P("model")),
    )
    found = collectives.find(text, mesh.shape)
    assert {row.inserted_by for row in found} == {"partitioner"}
    assert Counter(row.kind for row in found) == {
        "all-gather": 1,
        "all-reduce": 1,
        "collective-permute": 1,
    }
    by_kind = {row.kind: row for row in found}
    assert by_kind["all-gather"].axes == ("data",)
    assert by_kind["all-gather"].bytes == 8 * 4 * 4 * 4 * 4  # the whole batch
    assert by_kind["all-reduce"].axes == ("model",)
    assert by_kind["all-reduce"].bytes == 4 * 8 * 4
    assert by_kind["collective-permute"].axes == ("data",)


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


def test_what_a_loop_exchanges_counts_as_often_as_it_goes_round():
    mesh = jax.make_mesh((2, 2), ("data", "model"))

    def inner(x, _):
        with jax.named_scope("inner"):
            return lax.psum(jnp.sin(x), "model"), None

    def outer(x, _):
        with jax.named_scope("outer"):
            x = lax.psum(jnp.cos(x), "data")
        return lax.scan(inner, x, length=5)[0], None

    step = jax.shard_map(
        lambda x: lax.scan(outer, lax.psum(x, ("data", "model")), length=3)[0],
        mesh=mesh,
        in_specs=P(),
        out_specs=P(),
        check_vma=False,
    )
    found = collectives.find(compiled(step, mesh, ((4,), P())), mesh.shape)
    assert Counter((row.layer, row.axes, row.bytes) for row in found) == {
        ("", ("data", "model"), 16): 1,
        ("outer", ("data",), 16): 3,
        ("inner", ("model",), 16): 15,
    }


def test_blocks_in_a_loop_send_as_much_as_one_by_one(resnet20):
    words = "--config=configs/resnet20.py", "--config.batch_size=8"
    config, _ = settings.parse(
        [*words, "--config.mesh.data=4", "--config.scan_blocks=true"]
    )
    found = collectives.of_config(config, make_mesh(4, 1))
    norms = [row for row in found if "bn" in row.layer]
    assert len(norms) == 2 * 19
    assert "conv2_loop/bn1" in {row.layer for row in norms}
    assert sum(row.bytes for row in found) == sum(row.bytes for row in resnet20)


def test_other_operations_are_none():
    line = "  ROOT %all-reduce.7 = f32[4]{0} fusion(%all-gather.1), calls=%fused"
    assert not collectives.find(line, TWO_BY_TWO)


@pytest.fixture(scope="module")
def resnet20():
    words = "--config=configs/resnet20.py", "--config.batch_size=8"
    config, _ = settings.parse([*words, "--config.mesh.data=4"])
    return collectives.of_config(config, make_mesh(4, 1))


def test_resnet20_sends_its_gradient_and_its_statistics(resnet20):
    assert {row.kind for row in resnet20} == {"all-reduce"}
    assert {row.axes for row in resnet20} == {("data",)}
    assert {row.inserted_by for row in resnet20} == {"us"}
    # Mean and mean square of 7 norms of 16 maps, 6 of 32 and 6 of 64; backward the
    # gradients of scale and shift.
    statistics = 2 * 4 * (7 * 16 + 6 * 32 + 6 * 64)
    for direction in "forward", "backward":
        sizes = [
            row.bytes
            for row in resnet20
            if "bn" in row.layer and row.direction == direction
        ]
        assert (len(sizes), sum(sizes)) == (19, statistics)
    # 269,722 parameters, and two numbers to be shown: loss and error.
    others = sum(row.bytes for row in resnet20 if "bn" not in row.layer)
    assert others == 4 * 269_722 + 4 + 4


IMAGE_SIZE, NUM_CLASSES, BATCH = 67, 16, 16  # the smallest images that AlexNet takes


def alexnet(groups, data, model, *words):
    config, _ = settings.parse(
        [
            "--config=configs/alexnet.py",
            f"--config.model.fields.groups={groups}",
            f"--config.mesh.data={data}",
            f"--config.mesh.model={model}",
            *words,
        ]
    )
    return config


# What compiles in seconds.
SMALL = (
    f"--config.data.num_classes={NUM_CLASSES}",
    f"--config.data.image_size={IMAGE_SIZE}",
    f"--config.batch_size={BATCH}",
)


def num_parameters(groups):
    """Counts by hand: maps of 15x15 px after conv1; of 7, 3 and 1 after the pools."""
    kernels = 11 * 11 * 3 * 96 + 5 * 5 * 96 // groups * 256 + 3 * 3 * 256 * 384
    kernels += 3 * 3 * 384 // groups * 384 + 3 * 3 * 384 // groups * 256
    kernels += 1 * 1 * 256 * 4096 + 4096 * 4096 + 4096 * NUM_CLASSES
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + NUM_CLASSES
    return kernels + biases


def expected(data, parts):
    """Lists what AlexNet's parts exchange, and nothing else."""
    images = BATCH // data
    gathered = {
        "conv3": 3 * 3 * 256,
        "fc6": 1 * 1 * 256,
        "fc7": 4096,
        "fc8": 4096,
        "logits": NUM_CLASSES,
    }
    rows = []
    for layer, features in gathered.items():
        size = 4 * images * features
        rows += [
            Collective("all-gather", ("model",), layer, "forward", size, "us"),
            Collective("reduce-scatter", ("model",), layer, "backward", size, "us"),
        ]
    gradients = 4 * num_parameters(parts) // parts
    rows += [
        Collective("all-reduce", ("data",), "gradients", "backward", gradients, "us"),
        # Loss and error; the gradient's norm, of which each part has its share.
        Collective("all-reduce", ("data",), "metrics", "forward", 8, "us"),
        Collective("all-reduce", ("model",), "metrics", "forward", 4, "us"),
    ]
    return Counter(rows)


@pytest.mark.parametrize("parts", [2, 4])
def test_alexnet_exchanges_this_and_nothing_else(parts):
    config = alexnet(parts, 2, parts, *SMALL)
    found = collectives.of_config(config, make_mesh(2, parts))
    assert Counter(found) == expected(2, parts)
    traced = joined(traced_collectives(config, 2, parts), 1)
    assert Counter(traced) == expected(2, parts)  # without compiling


def test_alexnet_on_sixteen_devices_of_a_laptop():
    """As a user sees it, who has set no flags: the command opens the devices."""
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


@pytest.mark.parametrize(("data", "parts"), [(2, 2), (2, 4), (1, 8), (4, 1)])
def test_each_device_does_its_share_of_the_work(data, parts):
    """At the paper's own size; what they all do is to update what all hold."""
    config = alexnet(parts, data, parts)
    whole = collectives.device_flops(config, make_mesh(1, 1))
    share = collectives.device_flops(config, make_mesh(data, parts))
    assert whole and share
    assert share == pytest.approx(whole / (data * parts), rel=0.02)


@pytest.mark.parametrize(
    ("name", "data", "model", "size"),
    [("alexnet_owt", 2, 2, 63), ("vgg11_bn", 2, 2, 32), ("resnet20", 4, 1, 32)],
)
def test_the_trace_tells_what_the_compiled_step_sends(name, data, model, size):
    config, _ = settings.parse(
        [
            f"--config=configs/{name}.py",
            f"--config.mesh.data={data}",
            f"--config.mesh.model={model}",
            *SMALL,
            f"--config.data.image_size={size}",
        ]
    )
    sums: list[Counter] = []
    found = collectives.of_config(config, make_mesh(data, model))
    for rows in (found, traced_collectives(config, data, model)):
        sums.append(Counter())
        for row in rows:
            key = row.kind, row.axes, row.layer, row.direction, row.inserted_by
            sums[-1][key] += row.bytes
    assert sums[0] == sums[1]
