"""The options of eval.py: what goes together, and the files that they name."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.evaluation import request

RECIPE = ["--config=lenet5"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a run, a picture and weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("a.png", "w.npz"):
        (tmp_path / name).touch()


def given(text):
    """Reads ``a=1 b=2`` as the options of a command."""
    return dict(word.split("=") for word in text.split())


@pytest.mark.parametrize(
    "text",
    [
        "workdir=run",
        "workdir=run checkpoint=last split=validation data_dir=run",
        "workdir=run images=a.png checkpoint=last",
        "workdir=run images=run",
        "workdir=run features=fc7 output=x.npz split=train data_dir=run",
        "workdir=run export=new/x.onnx checkpoint=5",
        "weights=w.npz workdir=new",
        "weights=w.npz images=a.png workdir=new data_dir=run",
        "weights=w.npz export=x.npz",
        "workdir=run protocol=paper",
        "workdir=run checkpoint=all save_probabilities=1 protocol=ten_crop",
        "average_of=w.npz,w.npz",
        "workdir=run protocol=dense scales=256,384 combine=logits images=a.png",
    ],
)
def test_options_that_go_together(text):
    request.check(given(text), RECIPE if "weights" in text else [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images=a.png export=b.npz", "--images=a.png: has no effect with --export;"),
        ("features=fc7 export=b.npz", "--features=fc7: has no effect with --export;"),
        ("features=fc7 images=a.png", "--features=fc7: has no effect with --images;"),
        ("weights=torchvision:resnet17", "no such weights; did you mean resnet18"),
        ("output=b.npz", "--output=b.npz: goes with --features"),
        ("workdir=run checkpoint=all images=a.png", "--images=a.png: goes with one"),
        ("average_of=w.npz,v.npz", "--average_of=w.npz,v.npz: no file 'v.npz'; give"),
        ("average_of=w.npz workdir=run", "--workdir=run: has no effect with --average"),
        ("output=b.npz export=c.npz", "--output=b.npz: has no effect with --export;"),
        (
            "protocol=tencrop",
            "tencrop: must be one of paper, .*; did you mean ten_crop",
        ),
        (
            "protocol=dense export=b.npz",
            "--protocol=dense: has no effect with --exp",
        ),
        ("scales=256", "--scales=256: goes with --protocol; add one, such as"),
        ("protocol=dense scales=5,a", "--scales=5,a: must be whole numbers of px,"),
        ("protocol=dense scales=9,5", "--scales=9,5: must be whole .* that rise, such"),
        ("top_k=3 images=a.png", "--top_k=3: has no effect with --images"),
        ("top_k=0", "--top_k=0: must be whole numbers of classes, .* as --top_k=3,10"),
        ("protocol=dense combine=max", "--combine=max: must be one of softmax, logits"),
        ("split=train images=a.png", "--split=train: has no effect with --images;"),
        ("split=train export=b.npz", "--split=train: has no effect with --export;"),
        ("split=tset", "--split=tset: must be one of train, .*; did you mean test?"),
        (
            "checkpoint=last weights=w.npz",
            "--checkpoint=last: has no effect with",
        ),
        ("weights=w.npz workdir=run export=b.npz", "--workdir=run: has no effect with"),
        ("data_dir=run images=a.png", "--data_dir=run: has no effect, as no data is"),
        ("images=no.png", "--images=no.png: no such file or folder"),
        ("weights=a.png", "--weights=a.png: must end in .npz, .safetensors, .pth, .pt"),
        ("weights=no.npz", "--weights=no.npz: no such file or folder"),
        ("data_dir=no", "--data_dir=no: no such file or folder"),
        ("export=b.txt", r"--export=b.txt: must end in .stablehlo, .onnx, .safet"),
        ("export=a.png/b.npz", "--export=a.png: .*a.png is not a folder; choose"),
        ("features=fc7 output=b.txt", r"--output=b.txt: must end in .npz"),
        ("workdir=a.png/run images=a.png", "--workdir=a.png/run: .* is not a folder"),
        ("workdir=" + 300 * "x", "File name too long; choose another folder"),
    ],
)
def test_options_that_do_not(text, message):
    with pytest.raises(UsageError, match=message):
        request.check(given(text), RECIPE)


def test_each_run_of_an_ensemble_is_given_once():
    request.check({"workdir": ("run", "new")}, [])
    with pytest.raises(UsageError, match="--workdir=run: is given twice"):
        request.check({"workdir": ("run", "new", "run")}, [])
    with pytest.raises(UsageError, match=r"--export=a\.onnx: goes with one network"):
        request.check({"workdir": ("run", "new"), "export": "a.onnx"}, [])
    with pytest.raises(UsageError, match="--workdir=run: has no effect with --average"):
        request.check({"workdir": ("run", "new"), "average_of": "w.npz"}, [])


def test_weights_need_their_network():
    with pytest.raises(UsageError, match="needs its network, --config=RECIPE"):
        request.check({"weights": "w.npz"}, [])


def test_the_default_file_of_features_is_named_after_the_layer():
    path = request.output_path({"features": "inception_4a/3x3"})
    assert path == "inception_4a-3x3.npz"
