"""analyze.py --figures and --report as a user runs them."""

import json
from functools import partial

import pytest
from PIL import Image

from cnn_arch.models import MODELS
from tests.commands import ROOT, call

analyze = partial(call, "analyze.py")


@pytest.mark.slow
def test_figures_of_a_network_and_the_comparisons(tmp_path):
    result = analyze("--model=resnet20", f"--figures={tmp_path / 'new'}")
    assert result.returncode == 0, result.stderr
    stems = {"resnet20-layers", "resnet20-diagram", "alexnet-vgg16"}
    stems |= {"receptive-fields", "inception-naive-bottleneck", "error-operations"}
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")}
    for stem in stems:
        assert f"{stem}.png" in result.stdout
        with Image.open(tmp_path / "new" / f"{stem}.png") as picture:
            assert picture.size[0] >= 600
    assert "Next:" in result.stdout.splitlines()[-1]


@pytest.mark.slow
def test_report_of_the_catalogue(tmp_path):
    result = analyze(f"--report={tmp_path}", "--format=json")
    assert result.returncode == 0, result.stderr
    path = tmp_path / "index.html"
    assert json.loads(result.stdout) == {"wrote": [str(path)]}
    page = path.read_text(encoding="utf-8")
    assert all(f'<section id="{name}"' in page for name in MODELS)


def test_mistakes_are_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for words, message in {
        (f"--figures={file}",): f"{file} is not a folder; choose another folder",
        (f"--report={file}/below",): f"{file} is not a folder; choose another folder",
        ("--figures=x", "--model=alexnet", "--batch=2"): "--batch=2: pictures are of",
        ("--figures=x", "--model=resnet5"): "--model=resnet5: no such network",
        ("--figures=x", "--model=alexnet", "--image_size=30"): "needs at least",
    }.items():
        result = analyze(*words)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ") and message in line
    assert not (ROOT / "x").exists()
