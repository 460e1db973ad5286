"""prepare.py as a user gives it."""

import hashlib

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.preparation import published, request
from cnn_arch.preparation.published import PUBLISHED
from cnn_arch.screen import Screen
from tests.commands import call, error_line
from tests.server import serving

MISTAKES = {
    "cifar11 --from=.": "cifar11: no such data set; did you mean cifar10",
    "--download": "NAME: is missing; there are mnist, fashion_mnist, cifar10",
    "mnist": "--from=DIR: is missing; give the folder of the files, or --download to",
    "imagenet2012": "--from=DIR: is missing; give the folder of the files",
    "imagenet2012 --download": "--download: imagenet2012 needs an account at image-net",
    "mnist --from=nowhere": "--from=nowhere: no such folder",
    "mnist --from=. --short_side=256": "--short_side=256: goes with imagenet2012",
    "imagenet2012 --from=. --short_side=5": "--short_side=5: must be 32 to 4096 px",
    "imagenet2012 --from=. --short_side=x": "--short_side: must be a whole number",
    "folder --from=.": "--to=DIR: is missing; give a new folder",
    "folder --from=. --to=README.md/x": "README.md is not a folder; choose",
    "folder --download --to=x": "--download: goes with published data sets",
    "mnist --from=. --config=lenet5": "--config=lenet5: prepare.py takes no recipe",
    "mnist --from=": "--from=: is empty",
    "mnist --form=x": "--form=x: no such option; did you mean --from?",
    "mnist cifar10": "'cifar10': a word without its option",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(words):
    assert MISTAKES[words] in error_line(call("prepare.py", *words.split()))


def test_a_folder_is_prepared_and_the_next_command_takes_it(photos, tmp_path):
    target = tmp_path / "records"
    words = "folder", f"--from={photos}", f"--to={target}"
    result = call("prepare.py", *words)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert (
        lines[2] == "images   train 108  validation 12  test 27; about 1 MiB, 3 files"
    )
    assert lines[-3] == f"wrote    {target}"
    train = "python train.py --config=configs/resnet34.py:folder"
    assert lines[-1] == f"Next:    {train} --config.data.dir={target}"
    again = call("prepare.py", *words)
    assert again.stdout.splitlines()[-3] == f"exists   {target}   (nothing to do)"
    batch = f"--show_batch={tmp_path / 'batch.png'}"
    recipe = "--config=configs/lenet5.py:folder", f"--config.data.dir={target}"
    shown = call("train.py", *recipe, batch)
    assert shown.returncode == 0, shown.stderr
    assert "data     folder: train 108  val 12  test 27; 3 classes" in shown.stdout


FILES = {"t10k-images-idx3-ubyte.gz": b"images", "t10k-labels-idx1-ubyte.gz": b"labels"}


@pytest.fixture
def small(monkeypatch):
    """Two published files of a few bytes, on a server on the loopback."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    with serving(FILES) as server:
        monkeypatch.setenv("CNN_ARCH_DATA_URL", server.address)
        yield published.Published("1.0.0", md5, {}, "http://127.0.0.1:1"), server


def test_published_files_are_fetched_once(small, tmp_path):
    known, server = small
    for _ in range(2):
        published.download("mnist", known, tmp_path, Screen(quiet=True))
    assert {path.name for path in tmp_path.glob("*.gz")} == set(FILES)
    assert len(server.asked) == 2


def test_a_fetch_continues(small, tmp_path):
    known, server = small
    server.limit = 3
    with pytest.raises(UsageError, match="the same command continues"):
        published.download("mnist", known, tmp_path, Screen(quiet=True))
    server.limit = None
    published.download("mnist", known, tmp_path, Screen(quiet=True))
    assert server.asked[1][1] == "bytes=3-"
    assert (tmp_path / "t10k-images-idx3-ubyte.gz").read_bytes() == b"images"


def test_another_file_is_refused(small, tmp_path):
    known, server = small
    server.files = FILES | {"t10k-images-idx3-ubyte.gz": b"IMAGES"}
    with pytest.raises(UsageError, match=r"its MD5 starts with .* and was deleted"):
        published.download("mnist", known, tmp_path, Screen(quiet=True))
    assert not list(tmp_path.glob("*.gz"))


def test_a_server_that_is_not_there_ends_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("CNN_ARCH_DATA_URL", "http://127.0.0.1:1")
    result = call("prepare.py", "cifar10", "--download", f"--from={tmp_path}")
    line = error_line(result)
    assert "cifar-10-binary.tar.gz: " in line and "the same command continues" in line


def test_each_published_file_has_a_checksum_and_an_address():
    for name, known in PUBLISHED.items():
        assert all(len(md5) == 32 for md5 in known.md5.values())
        assert known.address.startswith("http") == (name != "imagenet2012")
        assert name in request.NAMES
