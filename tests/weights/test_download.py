"""Published weights: fetched from a server on the loopback, checked and kept."""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.weights import download
from cnn_arch.weights.caffe_networks import CAFFE
from cnn_arch.weights.torchvision import TORCHVISION
from tests.commands import ROOT
from tests.server import serving

CONTENT = bytes(range(256)) * 9000  # more than two blocks


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of weights whose name has the hash of the content."""
    name = f"small-{hashlib.sha256(CONTENT).hexdigest()[:8]}"
    monkeypatch.setitem(download.FILES, "small", name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving(defaultdict(lambda: CONTENT)) as server:
        monkeypatch.setenv("CNN_ARCH_WEIGHTS_URL", server.address)
        yield server


def fetch(name="torchvision:small"):
    return download.local_path(name, Screen(quiet=True))


def kept(tmp_path):
    """Returns the files of the cache, without its locks."""
    files = (tmp_path / "cnn_arch/weights").iterdir()
    return sorted(file.name for file in files if file.suffix != ".lock")


def test_a_file_is_fetched_once(server, tmp_path):
    path = fetch()
    assert Path(path).read_bytes() == CONTENT
    assert fetch() == path
    assert server.asked == [(f"/models/{download.FILES['small']}.pth", "bytes=0-")]
    assert kept(tmp_path) == [f"{download.FILES['small']}.pth"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_fetch_that_ended_early_continues(server, tmp_path, knows_ranges):
    server.limit = 700_000
    with pytest.raises(
        UsageError, match=r"^http://.*pth: .*; the same command continues"
    ):
        fetch()
    assert kept(tmp_path) == [f"{download.FILES['small']}.pth.part"]
    server.limit, server.knows_ranges = None, knows_ranges
    assert Path(fetch()).read_bytes() == CONTENT
    assert server.asked[1][1] == "bytes=700000-"


def test_a_whole_part_is_only_checked(server, tmp_path):
    folder = tmp_path / "cnn_arch/weights"
    folder.mkdir(parents=True)
    (folder / f"{download.FILES['small']}.pth.part").write_bytes(CONTENT)
    assert Path(fetch()).read_bytes() == CONTENT


def test_another_file_is_refused_and_deleted(server, tmp_path, monkeypatch):
    monkeypatch.setitem(download.FILES, "small", "small-01234567")
    with pytest.raises(UsageError, match="not with 01234567: this is another file"):
        fetch()
    assert not kept(tmp_path)


def test_a_server_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CNN_ARCH_WEIGHTS_URL", "http://127.0.0.1:1")
    reason = "resnet18-f37072fd.pth: .*refused; the same command continues"
    with pytest.raises(UsageError, match=reason):
        fetch("torchvision:resnet18")


def test_files_of_caffe_are_fetched_and_have_their_sha_1(server, tmp_path, monkeypatch):
    address = "https://example.org/small.caffemodel?dl=1"
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    monkeypatch.setitem(download.CAFFE, "small", (address, sha1))
    server.limit = 700_000
    with pytest.raises(UsageError, match=r"small\.caffemodel: .*; the same command"):
        fetch("caffe:small")
    server.limit = len(CONTENT)
    assert Path(fetch("caffe:small")).read_bytes() == CONTENT
    assert server.asked[1] == ("/models/small.caffemodel", "bytes=700000-")
    assert kept(tmp_path) == ["small.caffemodel"]

    other = "https://example.org/other.caffemodel"
    monkeypatch.setitem(download.CAFFE, "other", (other, "0" * 40))
    with pytest.raises(
        UsageError, match=f"SHA-1 starts with {sha1[:8]}, not with 0{{8}}"
    ):
        fetch("caffe:other")
    assert kept(tmp_path) == ["small.caffemodel"]


def test_a_full_disk_is_named_and_the_part_stays(server, tmp_path):
    folder = tmp_path / "cnn_arch/weights"
    folder.mkdir(parents=True)
    # Every write to this device fails as on a full disk.
    (folder / f"{download.FILES['small']}.pth.part").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="No space left on device"):
        fetch()


def test_only_published_names_are_fetched(server):
    assert fetch("a/b.pth") == "a/b.pth"
    with pytest.raises(UsageError, match="no such weights; did you mean resnet18"):
        fetch("torchvision:resnet17")
    with pytest.raises(UsageError, match=r"caffe:resnet51: no such .*mean resnet50"):
        fetch("caffe:resnet51")
    assert not server.asked


def test_every_network_of_caffe_has_its_file():
    page = (ROOT / "docs/weights.md").read_text(encoding="utf-8")
    assert download.CAFFE.keys() == CAFFE.keys()
    for address, digest in download.CAFFE.values():
        assert len(digest) == 40 and int(digest, 16)
        assert ".caffemodel" in address.rpartition("/")[2]
        file = address.rpartition("/")[2].partition("?")[0]
        assert f"[{file}]({address}) `{digest}`" in page


def test_every_counterpart_has_its_file():
    names = {name.partition(".")[0] for name in download.FILES}
    assert names == {counterpart.name for counterpart in TORCHVISION.values()}
    for name, file in download.FILES.items():
        assert re.fullmatch(r"[\w-]+-[0-9a-f]{8}", file), name
