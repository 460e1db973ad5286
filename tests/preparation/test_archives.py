"""Archives are read member by member; what is cut or no file is refused."""

import io
import tarfile

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.preparation import archives
from tests.preparation.conftest import tar


def test_an_archive_that_is_cut_between_its_images_is_refused(tmp_path):
    """Tarfile itself takes the end of the file for the end of the archive."""
    path = tmp_path / "class.tar"
    whole = tar(path, {"a.JPEG": bytes(512), "b.JPEG": bytes(512)})
    assert len(list(archives.list_tar(path))) == 2
    path.write_bytes(whole[: 2 * 512])  # the header and the content of the first
    with pytest.raises(UsageError, match="damaged or incomplete"):
        list(archives.list_tar(path))


def test_a_link_in_an_archive_is_not_followed(tmp_path):
    path = tmp_path / "class.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("n01440764_1.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        member = tarfile.TarInfo("../../n01440764_2.JPEG")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    (entry,) = archives.list_tar(path)
    assert entry.name == "n01440764_2.JPEG"
    assert archives.read(entry) == b"abc"


def test_an_image_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.JPEG"
    path.write_bytes(bytes(20))
    (entry,) = archives.list_folder(tmp_path)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 19)
    with pytest.raises(UsageError, match=r"a.JPEG: has 20 bytes, an image at most 19"):
        archives.read(entry)


def test_an_image_that_became_shorter_is_noticed(tmp_path):
    path = tmp_path / "a.JPEG"
    path.write_bytes(bytes(20))
    (entry,) = archives.list_folder(tmp_path)
    path.write_bytes(bytes(7))
    with pytest.raises(UsageError, match=r"a.JPEG: ends after 7 bytes; get it again"):
        archives.read(entry)
