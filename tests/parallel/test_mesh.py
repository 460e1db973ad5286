"""The mesh: its devices, the arrays on each of them, and wrong settings."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.models.build import build_model
from cnn_arch.parallel import mesh as meshes


@pytest.mark.parametrize(
    ("given", "shape"),
    [((0, 1), (8, 1)), ((0, 2), (4, 2)), ((2, 2), (2, 2)), ((1, 1), (1, 1))],
)
def test_the_shape_of_a_mesh(given, shape):
    mesh = meshes.make_mesh(*given)
    assert mesh.axis_names == ("data", "model")
    assert mesh.devices.shape == shape
    # Devices that share a network are neighbours.
    assert [d.id for d in mesh.devices[0]] == list(range(shape[1]))


EIGHT = "JAX finds 8 devices (cpu)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((9, 1), f"--config.mesh.data=9: {EIGHT}; leave it out to use all"),
        (
            (4, 4),
            f"--config.mesh.data=4 --config.mesh.model=4: {EIGHT}; leave them out to "
            "use all",
        ),
        ((0, 16), f"--config.mesh.model=16: {EIGHT}; leave it out to use all"),
        (
            (0, 3),
            "--config.mesh.model=3: must divide the 8 devices; or use fewer with "
            "--config.mesh.data=2",
        ),
    ],
)
def test_a_mesh_that_the_devices_cannot_form(given, message):
    with pytest.raises(UsageError) as caught:
        meshes.make_mesh(*given)
    assert str(caught.value) == message


UNSPLIT = (
    "cannot be split, only the AlexNets and the VGGs can; write --config.mesh.model=1"
)


@pytest.mark.parametrize(
    ("name", "num_parts", "reason"),
    [
        ("resnet20", 2, f"resnet20 {UNSPLIT}"),
        ("googlenet", 4, f"googlenet {UNSPLIT}"),
        (
            "alexnet",
            4,
            "must divide the groups of alexnet, 2; write --config.mesh.model=2 or "
            "--config.model.fields.groups=4",
        ),
        (
            "alexnet_one_tower",
            2,
            "must divide the groups of alexnet_one_tower, 1; write "
            "--config.mesh.model=1 or --config.model.fields.groups=2",
        ),
    ],
)
def test_networks_that_cannot_be_split(name, num_parts, reason):
    given = f"--config.mesh.model={num_parts}"
    config, _ = settings.parse([f"--config=configs/{name}.py:folder", given])
    with pytest.raises(UsageError) as caught:
        build_model(config, 10)
    assert str(caught.value) == f"{given}: {reason}"


def test_a_device_may_have_several_groups():
    words = ["--config.mesh.model=4", "--config.model.fields.groups=8"]
    config, _ = settings.parse(["--config=configs/alexnet.py:folder", *words])
    assert build_model(config, 10).groups == 8


def test_devices_cannot_share_maps_that_are_normalised_across_them():
    words = ["--config.mesh.model=2", "--config.model.fields.norm_across_groups=true"]
    config, _ = settings.parse(["--config=configs/alexnet.py:folder", *words])
    with pytest.raises(UsageError, match="needs the maps of all devices; write"):
        build_model(config, 10)


def test_a_split_layer_is_split_over_the_model_axis():
    model = SimpleNamespace(split_layers=("fc8",))
    tree = {
        "conv1": {"kernel": jnp.zeros((3, 3, 3, 8))},
        "fc8": {"kernel": jnp.zeros((4, 10)), "bias": jnp.zeros(10)},
    }
    whole = {"conv1": {"kernel": P()}, "fc8": {"kernel": P(), "bias": P()}}
    split = whole | {"fc8": {"kernel": P(None, "model"), "bias": P("model")}}
    for shape, specs in (((4, 2), split), ((8, 1), whole)):
        mesh = meshes.make_mesh(*shape)
        assert meshes.partition_specs(tree, model, mesh) == specs
        assert meshes.partition_specs((tree, 0.0), model, mesh) == (specs, P())
        assert jax.tree.leaves(meshes.partition_specs(tree, None, mesh)) == [P()] * 3
    with pytest.raises(UsageError) as caught:
        meshes.partition_specs(tree, model, meshes.make_mesh(2, 4))
    assert str(caught.value) == (
        "--config.mesh.model=4: must divide the 10 features of fc8; write "
        "--config.mesh.model=1"
    )


def test_all_devices_of_the_mesh_share_the_batch():
    meshes.check_batch_size(16, meshes.make_mesh(2, 4))
    with pytest.raises(UsageError) as caught:
        meshes.check_batch_size(12, meshes.make_mesh(2, 4))
    assert str(caught.value) == (
        "--config.batch_size=12: must be a multiple of the 8 devices; nearest are 8 "
        "and 16"
    )
    meshes.check_batch_size(16, meshes.make_mesh(2, 1), accumulate=8)
    with pytest.raises(UsageError) as caught:
        meshes.check_batch_size(16, meshes.make_mesh(2, 1), accumulate=3)
    assert str(caught.value) == (
        "--config.batch_size=16: must be a multiple of 6, accumulate=3 times the 2 "
        "devices; nearest are 12 and 18"
    )


def test_a_mesh_in_one_line():
    assert "as 4 devices" in meshes.describe(meshes.make_mesh(4, 1))
    described = meshes.describe(meshes.make_mesh(2, 4))
    assert "as 8 devices (2 x 4 that share the network)" in described
