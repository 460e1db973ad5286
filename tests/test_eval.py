"""eval.py as a user runs it, on a real run."""

import json
import os
import shlex
import shutil

import numpy as np
import pytest

from cnn_arch.models import create_model
from cnn_arch.weights.files import write_safetensors
from tests.commands import call, error_line, run
from tests.models.conftest import drawn_variables
from tests.runs import rows


def assert_same_results(found, expected):
    """Compares two entries of results.json from different devices."""
    for key in ("loss", "calibration_error"):
        assert found.pop(key) == pytest.approx(expected.pop(key), rel=1e-4)
    assert found == expected


@pytest.mark.slow
def test_eval_on_another_mesh_gives_the_same_numbers(finished):
    workdir, _ = finished
    before = json.loads((workdir / "eval" / "results.json").read_text())["test"]
    result = run("eval.py", f"--workdir={workdir}", "--json", num_devices=5)
    assert result.returncode == 0, result.stderr
    after = json.loads(result.stdout)["test"]
    assert_same_results(after, before)


@pytest.mark.slow
def test_a_split_run_is_evaluated_on_one_device(photos, tmp_path):
    data, workdir = shutil.copytree(photos, tmp_path / "photos"), tmp_path / "run"
    for split in ("train", "test"):  # four classes: fc8 is split too
        shutil.copytree(data / split / "red", data / split / "scarlet")
    words = (
        "--config=configs/alexnet.py:folder",
        "--config.precision=float32",
        f"--config.data.dir={data}",
        "--config.data.image_size=67",
        "--config.batch_size=8",
        "--config.epochs=1",
        f"--workdir={workdir}",
    )
    mesh = "--config.mesh.data=2", "--config.mesh.model=2"
    result = run("train.py", *words, *mesh, num_devices=4)
    assert result.returncode == 0, result.stderr
    assert "as 4 devices (2 x 2 that share the network)" in result.stdout
    before = json.loads((workdir / "eval" / "results.json").read_text())["test"]
    result = run("eval.py", f"--workdir={workdir}", "--json")
    after = json.loads(result.stdout)["test"]
    assert_same_results(after, before)
    result = run("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert "finished" in result.stdout


def test_eval_of_the_last_checkpoint_and_of_pictures(finished, network, photos):
    workdir, _ = finished
    words = (f"--workdir={workdir}", "--checkpoint=last", "--split=validation")
    result = call("eval.py", *words, "--json")
    last = rows(workdir / "metrics.csv")[-1]
    answer = json.loads(result.stdout)["validation"]
    assert answer["checkpoint_step"] == 39
    assert answer["loss"] == pytest.approx(float(last["validation_loss"]), rel=1e-5)

    images = photos / "test" / "red"
    result = call("eval.py", f"--workdir={workdir}", f"--images={images}", "--json")
    answer = json.loads(result.stdout)
    assert set(answer) == {str(images / f"{i}.png") for i in range(9)}
    firsts = [predictions[0]["class"] for predictions in answer.values()]
    if network == "resnet20":
        assert firsts.count("red") > 6
    assert (workdir / "plots" / "predictions.png").exists()


def test_a_bad_picture_costs_only_its_own_answer(finished, photos, tmp_path):
    workdir, _ = finished
    folder = tmp_path / "pictures"
    shutil.copytree(photos / "test" / "red", folder / "red")
    (folder / "bad.png").write_text("no image")
    os.mkfifo(folder / "red" / "fifo.jpg")
    words = f"--workdir={workdir}", f"--images={folder}"
    result = call("eval.py", *words, "--json")
    assert result.returncode == 1
    assert "warning: 2 of 11 pictures cannot be read\n" in result.stderr
    assert "bad.png  not a readable image (8 bytes)" in result.stderr
    answer = json.loads(result.stdout)
    unread = [str(folder / name) for name in ("bad.png", "red/fifo.jpg")]
    assert [file for file, named in answer.items() if not named] == unread

    table = {row["file"]: row for row in rows(workdir / "eval/predictions_images.csv")}
    assert list(table) == list(answer)
    for file, named in answer.items():
        row = table[file]
        for i, each in enumerate(named, start=1):
            assert row[f"class_{i}"] == each["class"]
            probability = float(row[f"probability_{i}"])
            assert probability == pytest.approx(each["probability"], rel=1e-5)
        assert bool(row["unread"]) == (not named) == (not row["class_1"])
    # The same answers as alone.
    one = folder / "red" / "0.png"
    result = call("eval.py", words[0], f"--images={one}", "--json")
    assert result.returncode == 0
    (alone,) = json.loads(result.stdout).values()
    assert [each["class"] for each in alone] == [
        each["class"] for each in answer[str(one)]
    ]

    for file in (folder / "red").glob("*.png"):
        file.unlink()
    line = error_line(call("eval.py", *words))
    assert "none of 2 pictures can be read, " in line
    line = error_line(call("eval.py", words[0], f"--images={unread[0]}"))
    assert "not a readable image (8 bytes); give a JPEG, PNG" in line


def test_eval_by_several_views(finished, network, photos):
    """All protocols are side by side in results.json."""
    workdir, _ = finished
    before = json.loads((workdir / "eval" / "results.json").read_text())
    words = f"--workdir={workdir}", "--protocol=ten_crop", "--json"
    result = call("eval.py", *words, "--scales=40,48", "--top_k=2,5")
    assert result.returncode == 0, result.stderr
    assert "cost     20 views of each of 27 images, about 0:" in result.stderr
    (answer,) = json.loads(result.stdout).items()
    key, entry = answer
    assert key == "test_ten_crop_40_48"
    assert entry["top1_error"] >= entry["top2_error"] >= entry["top5_error"] == 0
    assert (entry["num_crops"], entry["scales"]) == (20, [40, 48])
    assert len(rows(workdir / "eval" / f"predictions_{key}.csv")) == 27
    after = json.loads((workdir / "eval" / "results.json").read_text())
    assert after == before | {key: entry}

    picture = photos / "test" / "red" / "0.png"
    result = call("eval.py", *words, "--scales=40", f"--images={picture}")
    assert result.returncode == 0, result.stderr
    assert "protocol ten_crop: 10 crops of 32 px" in result.stderr
    ((best, *_),) = json.loads(result.stdout).values()
    assert 1 / 3 <= best["probability"] <= 1
    line = error_line(call("eval.py", *words, "--scales=32"))
    assert "it must be more than 32" in line and "give --scales=37" in line


def test_eval_writes_features_and_a_network_for_others(finished, network, tmp_path):
    workdir, _ = finished
    output = tmp_path / "features.npz"
    layer, size = {"lenet5": ("F6", 84), "resnet20": ("pool", 64)}[network]
    words = f"--workdir={workdir}", f"--features={layer}", f"--output={output}"
    result = call("eval.py", *words, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["features"] == [27, size]
    assert output.exists()
    exported = tmp_path / "network.stablehlo"
    result = call("eval.py", f"--workdir={workdir}", f"--export={exported}", "--quiet")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("wrote    ") and exported.exists()


def test_eval_of_a_file_of_weights(finished, recipe, photos, tmp_path):
    """A run's weights_best.npz judges as its checkpoint does."""
    workdir, _ = finished
    weights = workdir / "weights_best.npz"
    # A recipe for folders counts them; the file of weights does not have them.
    data = json.loads((workdir / "config.json").read_text())["data"]
    counted = [f"--config.data.{key}={tuple(data[key])}" for key in ("mean", "std")]
    out = tmp_path / "out"
    words = *recipe(), f"--weights={weights}", f"--workdir={out}", *counted
    result = call("eval.py", *words, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)["test"]
    assert answer.pop("weights") == str(weights)
    stored = json.loads((workdir / "eval" / "results.json").read_text())["test"]
    del stored["checkpoint_step"]
    assert_same_results(answer, stored)
    assert (out / "eval" / "results.json").exists()

    others = f"--workdir={tmp_path / 'no'}", "--config.data.normalisation=mean_image"
    given = [word for word in words if not word.startswith("--workdir")]
    line = error_line(call("eval.py", *given, *others))
    assert "give --workdir instead of --weights, or write " in line

    picture = photos / "test" / "red" / "0.png"
    result = call("eval.py", *words, f"--images={picture}")
    assert result.returncode == 0, result.stderr
    words = shlex.split(result.stdout.partition("Next:")[2])
    assert call(*words[1:]).returncode == 0


def test_a_network_that_knows_one_class_is_named(finished, recipe, tmp_path):
    workdir, printed = finished
    sentence = "all images are judged to be"
    assert sentence not in printed
    weights = dict(np.load(workdir / "weights_best.npz"))
    (head,) = (key for key, array in weights.items() if array.shape == (3,))
    weights[head] = np.array([0, 1e4, 0], np.float32)  # blue, green, red
    np.savez(path := tmp_path / "changed.npz", **weights)
    counted = "--config.data.mean=(128,128,128)", "--config.data.std=(64,64,64)"
    words = *recipe(), *counted, f"--weights={path}", f"--workdir={tmp_path / 'out'}"
    result = call("eval.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"{sentence} green: " in " ".join((result.stdout + result.stderr).split())


@pytest.mark.slow
def test_the_mean_of_two_checkpoints_and_of_their_files(finished, tmp_path):
    workdir, _ = finished
    words = f"--workdir={workdir}", "--checkpoint=all", "--save_probabilities"
    result = call("eval.py", *words, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)["test"]
    members = answer["members"]
    names = os.listdir(workdir / "checkpoints")
    steps = sorted(int(name) for name in names if name.isdigit())
    assert [member["checkpoint_step"] for member in members] == steps
    (folder,) = (tmp_path / "runs").glob("ensemble-*")
    stored = json.loads((folder / "eval" / "results.json").read_text())
    assert stored == {"test": answer}
    assert (folder / "plots" / "confusion.png").exists()
    files = sorted((folder / "eval").glob("probabilities_test_*.npz"))
    given = ",".join(map(str, files))
    result = call("eval.py", f"--average_of={given}", "--json")
    assert json.loads(result.stdout)["loss"] == pytest.approx(answer["loss"])
    result = call("eval.py", f"--average_of={folder / 'eval/probabilities_test.npz'}")
    assert f"{answer['top1_error']:.2f} %" in result.stdout.splitlines()[-1]


@pytest.mark.slow
def test_weights_with_their_own_mean_are_evaluated_twice_in_one_directory(
    photos, tmp_path
):
    variables = drawn_variables(create_model("resnet18", 3), 64, 3)
    weights = tmp_path / "resnet18.safetensors"
    write_safetensors(weights, "resnet18", variables, [127.5] * 3, [64.0] * 3)
    words = "--config=resnet18:folder", f"--config.data.dir={photos}", "--json"
    words += "--config.data.image_size=64", f"--weights={weights}"
    for _ in range(2):
        result = call("eval.py", *words, f"--workdir={tmp_path / 'out'}")
        assert result.returncode == 0, result.stderr
        answer = json.loads(result.stdout)["test"]
        assert answer["mean"] == [127.5] * 3
    mean_image = "--config.data.normalisation=mean_image"  # as on ImageNet
    other = f"--workdir={tmp_path / 'other'}"
    result = call("eval.py", *words, mean_image, other)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["test"]["loss"] == answer["loss"]


def test_mistakes_of_eval(finished, tmp_path):
    workdir, _ = finished
    line = error_line(call("eval.py", f"--workdir={tmp_path}"))
    assert f"--workdir={tmp_path}: no run there" in line
    line = error_line(call("eval.py", f"--workdir={workdir}", "--checkpoint=77"))
    assert "--checkpoint=77: no such checkpoint" in line
    assert "39" in line
    line = error_line(call("eval.py", f"--workdir={workdir}", "--split=tset"))
    assert "one of train, validation, test" in line
    line = error_line(call("eval.py", f"--workdir={workdir}", "--images=/no/such"))
    assert "--images=/no/such: no such file or folder" in line
    line = error_line(call("eval.py", "--config=configs/lenet5.py"))
    assert "--config=configs/lenet5.py: needs --weights=FILE" in line
    line = error_line(call("eval.py", "--json"))
    assert "--workdir: must be given, or --config and --weights" in line
    line = error_line(call("eval.py", f"--workdir={workdir}", "--output=x.npz"))
    assert "--output=x.npz: goes with --features" in line
    words = "--config=configs/lenet5.py", "--weights=/no/such.npz"
    line = error_line(call("eval.py", *words))
    assert "--weights=/no/such.npz: no such file" in line
