"""Starts from runs and from files of weights: which arrays are taken."""

import json

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from cnn_arch import run_directory, settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import starting_point
from cnn_arch.training.program import Program
from cnn_arch.weights.files import write_npz
from cnn_arch.weights.torchvision import to_torchvision
from tests.models.conftest import abstract_variables
from tests.weights import caffe_files, torch_files

DIGITS = tuple("0123456789")
WARM_CONVOLUTIONS = "1_1", "2_1", "3_1", "3_2"


def make_program(*words, num_classes=10):
    config, _ = settings.parse(["--config=configs/lenet5.py", *words])
    return Program(config, num_classes, make_mesh(1, 1))


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "new", Screen())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of LeNet-5 whose best checkpoint is the network of another seed."""
    path = tmp_path_factory.mktemp("trained")
    program = make_program("--config.seed=7")
    run_directory.create(path, program.config, DIGITS, ())
    save(program, Run(path, Screen()))
    return path, jax.device_get(program.initialise().variables)


def save(program, run):
    checkpoints = open_checkpoints(run)
    config = json.loads(settings.to_json(program.config))
    state = program.initialise()
    checkpoints.save(state, config=config, epoch=1.0, validation_error=5.0)
    checkpoints.close()


def start(program, run, classes=DIGITS):
    """Returns the variables with which a program starts, and what was taken."""
    taken = starting_point.read(program, classes, run)
    return jax.device_get(program.initialise(taken).variables), taken


def formula(variables):
    """Returns other numbers for each array."""
    leaves, structure = jax.tree.flatten(variables)
    rng = np.random.default_rng(0)
    arrays = [rng.random(leaf.shape, np.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, arrays)


def test_a_run_starts_with_the_best_checkpoint_of_another(trained, run):
    path, expected = trained
    started, _ = start(make_program(f"--config.init_from={path}"), run)
    jax.tree.map(np.testing.assert_array_equal, started, expected)
    assert jax.tree.structure(started) == jax.tree.structure(expected)


def test_without_checkpoints_the_weights_of_a_run_are_read(trained, run, tmp_path):
    path, expected = trained
    (tmp_path / "config.json").write_bytes((path / "config.json").read_bytes())
    (tmp_path / "classes.json").write_bytes((path / "classes.json").read_bytes())
    program = make_program(f"--config.init_from={tmp_path}")
    with pytest.raises(UsageError, match="the run has no best checkpoint yet"):
        start(program, run)
    write_npz(tmp_path / "weights_best.npz", expected)
    started, _ = start(program, run)
    jax.tree.map(np.testing.assert_array_equal, started, expected)


@pytest.mark.parametrize(
    "classes",
    [
        pytest.param(("cat", "dog", "owl"), id="fewer"),
        pytest.param(tuple("abcdefghij"), id="others", marks=pytest.mark.slow),
    ],
)
def test_other_classes_get_a_new_head(trained, run, capsys, classes):
    path, expected = trained
    words = f"--config.init_from={path}", "--config.seed=1"
    program = make_program(*words, num_classes=len(classes))
    started, _ = start(program, run, classes)
    fresh = program.initialise().variables["params"]
    for layer, arrays in started["params"].items():
        source = fresh if layer == "output" else expected["params"]
        jax.tree.map(np.testing.assert_array_equal, arrays, source[layer])
    shown = capsys.readouterr().out
    assert f"start    {path}: 12 of 14 arrays" in shown
    assert "a new head, as the classes differ: output/bias, output/kernel" in shown


def test_a_run_that_continues_does_not_read_its_start_again(run, capsys):
    program = make_program("--config.init_from=deleted")
    save(program, run)
    assert not starting_point.read(program, DIGITS, run)
    assert "deleted when the run began; it is not read again" in capsys.readouterr().out


def test_a_file_may_have_a_part_of_the_arrays(run, tmp_path, capsys):
    """Names of torchvision, without the head and with a layer of another program."""
    path = tmp_path / "body.safetensors"
    variables = formula(abstract_variables(create_model("resnet18", 10), 224))
    arrays = to_torchvision("resnet18", variables)
    body = {name: x for name, x in arrays.items() if not name.startswith("fc.")}
    save_file(body | {"projection.weight": np.zeros((3, 2), np.float32)}, path)
    words = "--config.model.name=resnet18", f"--config.init_from={path}"
    program = make_program(*words, "--config.data.channels=3", *pixels(3))
    taken = starting_point.read(program, DIGITS, run)
    expected = flatten_dict(variables)
    head = {key for key in expected if key[1] == "fc"}
    assert taken.keys() == expected.keys() - head
    for key, array in taken.items():
        np.testing.assert_array_equal(array, expected[key])
    printed = capsys.readouterr()
    assert "new: fc/bias, fc/kernel" in printed.out
    assert "not used: projection.weight" in printed.out
    assert "data.mean is not that of --init_from" in printed.err
    mean_image = "--config.data.normalisation=mean_image"
    program = make_program(*words, "--config.data.channels=3", *pixels(3), mean_image)
    starting_point.read(program, DIGITS, run)
    assert "write --config.data.normalisation=channels" in capsys.readouterr().err


def test_published_weights_are_read_where_they_are_kept(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CNN_ARCH_WEIGHTS_URL", "http://127.0.0.1:1")  # nothing is there
    path = tmp_path / "cnn_arch/weights/resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    kernel = np.random.default_rng(0).random((64, 3, 7, 7), np.float32)
    arrays = {"conv1.weight": kernel}
    torch_files.save(path, torch_files.state_dict(arrays), arrays)
    words = "--config.model.name=resnet18", "--config.data.channels=3"
    given = "--config.init_from=torchvision:resnet18"
    taken = starting_point.read(make_program(*words, given, *pixels(3)), DIGITS, run)
    assert taken.keys() == {("params", "conv1", "kernel")}
    (array,) = taken.values()
    np.testing.assert_array_equal(array, kernel.transpose(2, 3, 1, 0))


def test_a_run_names_what_its_network_does_otherwise(run, tmp_path, capsys):
    recipe, field = "--config=configs/resnet34.py:folder", "model.fields.ceil_mode"
    config, _ = settings.parse([recipe, f"--config.{field}=true"])
    run_directory.create(tmp_path, config, DIGITS, ())
    kernel = np.zeros((7, 7, 3, 64), np.float32)
    arrays = {"params": {"conv1": {"kernel": kernel}}, "batch_stats": {}}
    write_npz(tmp_path / "weights_best.npz", arrays)
    for value in ("true", "false"):
        words = f"--config.init_from={tmp_path}", f"--config.{field}={value}"
        config, _ = settings.parse([recipe, *words])
        starting_point.read(Program(config, 10, make_mesh(1, 1)), DIGITS, run)
        warned = "the same with --config.model.fields.ceil_mode" in (
            capsys.readouterr().err
        )
        assert warned == (value == "false")


@pytest.mark.parametrize("ceil_mode", ["true", "false"])
def test_a_file_of_caffe_names_what_its_network_does_otherwise(
    run, tmp_path, capsys, ceil_mode
):
    net = caffe_files.Net(224)
    net.conv("conv1", 64, 7, stride=2, pad=3, bias=False)
    net.norm("_conv1", relu=True)
    net.dense("fc_of_photos", 3)
    path = tmp_path / "start.caffemodel"
    path.write_bytes(caffe_files.caffemodel(net.layers))
    recipe = "--config=configs/resnet50.py:folder"
    words = f"--config.init_from={path}", f"--config.model.fields.ceil_mode={ceil_mode}"
    config, _ = settings.parse([recipe, *words])
    taken = starting_point.read(Program(config, 10, make_mesh(1, 1)), DIGITS, run)
    assert {key[1] for key in taken} == {"conv1", "bn1"}
    printed = capsys.readouterr()
    assert "not used: fc_of_photos" in printed.out
    differs = "it is the same with --config.model.fields.ceil_mode=true" in printed.err
    assert differs == (ceil_mode == "false")


def pixels(channels):
    numbers = ",".join(["127.5"] * channels)
    return f"--config.data.mean={numbers}", f"--config.data.std={numbers}"


@pytest.mark.parametrize(
    ("name", "suffix"), [("vgg11", ".npz"), ("vgg11_bn", ".safetensors")]
)
def test_a_deeper_vgg_starts_from_a_as_the_paper_says(run, tmp_path, name, suffix):
    """Section 3.1: the first four convolutions and the three dense layers."""
    path, layers = tmp_path / f"a{suffix}", {f"conv{i}" for i in WARM_CONVOLUTIONS}
    trained = abstract_variables(create_model(name, 10), 32)
    if suffix == ".npz":
        layers |= {"fc6", "fc7", "fc8"}
        write_npz(path, trained := formula(trained))
    else:  # the arrays of the dense layers are large in torchvision
        del trained["params"]["fc6"], trained["params"]["fc7"], trained["params"]["fc8"]
        save_file(to_torchvision(name, trained := formula(trained)), path)
    words = f"--config.model.name={name.replace('11', '16')}", *pixels(3)
    words = *words, "--config.data.channels=3", "--config.data.image_size=32"
    program = make_program(*words, f"--config.init_from={path}")
    taken = starting_point.read(program, DIGITS, run)
    expected = flatten_dict(trained)
    assert taken.keys() == {key for key in expected if key[1] in layers}
    assert {key[1] for key in taken} == layers
    for key, array in taken.items():
        np.testing.assert_array_equal(array, expected[key])


def test_what_cannot_be_read_is_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").touch()
    write_npz(tmp_path / "a.npz", {"params": {"a": np.zeros(2)}, "batch_stats": {}})
    for name, reason in {
        "empty": "no run there",
        "missing": "no such run or file",
        "words.txt": "must end in .npz",
        "a.npz": "no array fits lenet5",
    }.items():
        program = make_program(f"--config.init_from={tmp_path / name}")
        with pytest.raises(UsageError, match=f"^--init_from=.*{name}: {reason}"):
            starting_point.read(program, DIGITS, run)
