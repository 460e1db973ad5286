"""analyze.py as a user runs it: real processes."""

import json
import shlex
from functools import partial

import pytest

from tests import commands
from tests.commands import error_line

run = partial(commands.run, "analyze.py")
call = partial(commands.call, "analyze.py")


def test_the_table(tmp_path):
    result = run("--model=alexnet", "--fold", cwd=tmp_path)  # from anywhere
    assert result.returncode == 0 and not result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "network  alexnet: 1 image of 227x227x3, float32"
    conv2 = next(line for line in lines if line.startswith("conv2 "))
    costs = "conv2 27x27x256 307,456 223,948,800 729.0 51 8 -16"
    assert conv2.split() == costs.split()
    text = " ".join(lines)
    for total in ("60,965,224", "724,406,816", "1,448,813,632", "53,084,160"):
        assert total in text
    assert all(len(line) <= 80 for line in lines)


def test_the_next_commands_can_be_pasted():
    lines = call("--model=lenet", "--fold").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Next:"))
    for line in lines[at:]:
        words = shlex.split(line.removeprefix("Next:"))
        assert words[:2] == ["python", "analyze.py"]
        assert call(*words[2:]).returncode == 0


def test_quiet_leaves_one_line():
    result = call("--model=lenet5", "--quiet")
    assert result.stdout.splitlines() == [
        "lenet5: 60,850 parameters, 416,520 MACs, 0.03 MiB"
    ]
    assert not result.stderr


def test_json():
    result = call("--config=configs/resnet20.py", "--format=json", "--batch=2")
    answer = json.loads(result.stdout)
    assert answer["model"] == "resnet20" and answer["input"] == [2, 32, 32, 3]
    first = answer["layers"][1]
    assert (first["name"], first["kind"], first["params"]) == ("conv1", "conv", 432)
    assert first["output_shape"] == [32, 32, 16]
    assert first["macs"] == 2 * 32 * 32 * 16 * 27
    assert first["receptive_field"] == 3 and first["receptive_stride"] == 1
    total = answer["totals"]
    assert total["macs"] == 2 * 40_551_040 and total["params"] == 269_722
    assert total["xla_flops"] == total["xla_flops_expected"]


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_other_forms_are_alone_on_stdout(form):
    result = call("--model=lenet5", f"--format={form}", "--image_size=32")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("name,kind" if form == "csv" else "| layer | kind |")
    assert len(lines) == (17 if form == "csv" else 18)


def test_training_and_a_floor():
    words = "--model=lenet", "--format=json", "--training", "--memory=1MiB"
    answer = json.loads(call(*words, "--roofline=gtx580", "--batch=4").stdout)
    training, floor = answer["training"], answer["roofline"]
    assert training["parameter_bytes"] == 4 * 61_706
    # The compiled step takes parameters, momentum and the batch, and a few scalars.
    state = training["parameter_bytes"] + training["optimizer_bytes"]
    batch = 4 * (28 * 28 + 4)
    assert training["xla_argument_bytes"] == pytest.approx(state + batch, abs=64)
    assert 0 < training["largest_batch_with_gradients"] < training["largest_batch"]
    assert floor["seconds"] == pytest.approx(
        sum(layer["floor_seconds"] for layer in answer["layers"])
    )


@pytest.mark.slow
def test_measured_beside_the_floor():
    answer = json.loads(run("--model=lenet", "--measure", "--format=json").stdout)
    assert answer["roofline"]["device"].startswith("this machine")
    for speed in answer["measured"].values():
        assert 0 < speed["slowest"] <= speed["median"] <= speed["fastest"]
        assert speed["runs"] >= 5


@pytest.mark.slow  # a sample of docs/scaling.md
def test_collectives():
    words = "--model=lenet5", "--collectives", "--config.mesh.data=4"
    lines = run(*words).stdout.splitlines()
    assert lines[1] == "mesh     data 4 x model 1, virtual devices of this CPU"
    # 60,850 parameters; loss and error.
    rows = [line.split() for line in lines if line.startswith("all-reduce")]
    assert rows == [
        ["all-reduce", "data", "gradients", "backward", "243,400", "us", "1"],
        ["all-reduce", "data", "metrics", "forward", "8", "us", "1"],
    ]
    assert "added    by XLA's partitioner: none" in lines
    csv = run(*words, "--format=csv").stdout.splitlines()
    assert csv[:2] == [
        "kind,axes,layer,pass,bytes,inserted_by",
        "all-reduce,data,gradients,backward,243400,us",
    ]


def test_scaling(tmp_path):
    words = "--model=alexnet", "--scale=1,2,8", "--roofline=gtx580", "--link=pcie2"
    result = call(*words, f"--figures={tmp_path}")
    assert result.returncode == 0 and not result.stderr
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    rows = [line for line in lines if line.startswith("weak") and " x " in line]
    meshes = [line[18:25].strip() for line in rows]
    assert meshes == ["1 x 1", "2 x 1", "1 x 2", "8 x 1", "4 x 2"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"alexnet-scaling.png", "alexnet-scaling.svg"}
    answer = json.loads(call(*words, "--format=json").stdout)
    first = answer["predictions"][0]
    assert first["devices"] == 1 and first["efficiency"] == 1
    assert answer["link"]["bandwidth"] == 8e9


@pytest.mark.slow
def test_claims():
    result = call("--claims")
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.count("  verdict") > 50
    assert max(map(len, result.stdout.splitlines())) <= 80
    records = json.loads(call("--claims", "--format=json").stdout)
    memory = next(record for record in records if record["said"] == [96])
    assert memory["verdict"] == "wrong" and memory["counted"] == [60.950432]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "usage"),
        (
            ["--model=alexnt"],
            "error: --model=alexnt: no such network; did you mean alexnet",
        ),
        (["--model=../setup"], "error: --model=../setup: no such network"),
        (["--quiet"], "error: --model: must be given, or --config, or --claims"),
        (["--model=alexnet", "--image_size=32"], "alexnet needs at least 67 px"),
        (["--model=vgg16", "--image_size=0"], "--image_size=0: must be a whole number"),
        (
            ["--model=vgg16", "--image_size=big"],
            "--image_size: must be a whole number, not big",
        ),
        (["--model=vgg16", "--batch=-1"], "--batch=-1: must be a whole number"),
        (["--model=vgg16", "--memory=3"], "--memory=3: must be a size such as 3GiB"),
        (["--model=vgg16", "--roofline=b200"], "--roofline: must be one of a100, h100"),
        (["--model=vgg16", "--depth=3"], "--depth=3: no such option"),
        (["--config=configs/vgg6.py"], "no such file; did you mean configs/vgg16.py?"),
        (["--model=resnet50", "--config=configs/vgg16.py"], "--config"),
        (["--model=vgg16", "--scale=1,2"], "--scale=1,2: needs --roofline; as in"),
        (
            ["--model=vgg16", "--scale=1,2", "--roofline=h100", "--link=fast"],
            "--link=fast: must be a rate such as 400Gbit or 50GB/s",
        ),
        (
            ["--model=vgg16", "--scale=0", "--roofline=h100", "--link=pcie3"],
            "--scale=0: must be rising numbers",
        ),
        (
            "--model=nin --scale=2 --roofline=h100 --link=pcie3 --latency=nan".split(),
            "--latency=nan: must be 0 to 1,000,000",
        ),
        (["--model=vgg16", "--image_size=1000000000"], "--image_size=1000000000: must"),
    ],
)
def test_mistakes(words, expected):
    result = call(*words)
    assert result.returncode == 2
    assert expected in result.stderr
    if words:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--model=resnet20", "--config.mesh.model=2"],
            "--config.mesh.model=2: resnet20 cannot be split",
        ),
        (
            ["--model=lenet5", "--batch=3", "--config.mesh.data=2"],
            "batch_size=3: must be a multiple of the 2 devices; nearest are 2 and 4",
        ),
    ],
)
def test_mistakes_of_devices(words, expected):
    """In a process of its own, which makes as many virtual devices as it needs."""
    assert expected in error_line(run("--collectives", *words))


def test_a_config_of_another_project(tmp_path):
    recipe = tmp_path / "other.py"
    recipe.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    return ConfigDict({'model': 'ViT-B_16', 'batch': 4096})\n"
    )
    result = call(f"--config={recipe}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: --config={recipe}: ")
    assert result.stderr.count("\n") == 1
