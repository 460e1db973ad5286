"""Parts of JPEG files: the pixels of the whole image, and nothing that is damaged."""

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from cnn_arch.data import decoding, jpeg_parts, kept
from cnn_arch.data.jpeg_parts import JpegParts, JpegPixels
from cnn_arch.data.loading import TrainBatches
from cnn_arch.datasets.dataset import load_dataset
from cnn_arch.errors import RunError

pytestmark = pytest.mark.skipif(
    jpeg_parts.library() is None, reason="nvImageCodec is not installed"
)

SUBSAMPLINGS = "444", "422", "420", "440", "411"
ROOT = Path(__file__).parents[2]
EPOCH = 3  # steps


def noise(height=61, width=83, channels=3):
    shape = height, width, channels
    return np.random.default_rng(height + width).integers(0, 256, shape, np.uint8)


def encode(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def jpeg_files():
    """Yields a name and a file for each kind of JPEG with gray or colours."""
    for subsampling in SUBSAMPLINGS:
        file = simplejpeg.encode_jpeg(noise(), 90, colorsubsampling=subsampling)
        yield subsampling, file
    yield "progressive", encode(noise(), progressive=True)
    yield "restarts", encode(noise(), restart_marker_blocks=2)
    yield "rgb", encode(noise(), keep_rgb=True)
    yield "gray", encode(noise()[..., 0])
    yield "narrow", encode(noise(40, 7))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kind", "file"), [*jpeg_files()], ids=lambda x: str(x)[:11])
def test_a_part_has_the_pixels_of_the_whole(kind, file, channels):
    picture = Image.open(io.BytesIO(file)).convert("L" if channels == 1 else "RGB")
    if channels == 1 and kind != "gray":  # Pillow makes gray of RGB, libjpeg has it
        picture = Image.open(io.BytesIO(file))
        picture.draft("L", picture.size)
    whole = np.asarray(picture).reshape(picture.height, picture.width, channels)
    pixels = JpegPixels(file, channels)
    assert pixels.shape == whole.shape
    generator = np.random.default_rng(0)
    for _ in range(60):
        top, bottom = sorted(generator.choice(picture.height + 1, 2, replace=False))
        left, right = sorted(generator.choice(picture.width + 1, 2, replace=False))
        part = pixels[top:bottom, left:right]
        np.testing.assert_array_equal(part, whole[top:bottom, left:right])


def test_a_narrow_part_is_cut_out_of_the_whole():
    """Of one column, libjpeg-turbo would interpolate chroma in another way."""
    file = simplejpeg.encode_jpeg(noise(87, 27), 90, colorsubsampling="420")
    whole = decoding.decode(file, 3, shown=False)
    for width in range(1, 2 * jpeg_parts.LEAST_WIDTH):
        part = JpegPixels(file, 3)[:, :width]
        np.testing.assert_array_equal(part, whole[:, :width])


def damage(file):
    """Puts zeros in place of the middle of a file; its end stays."""
    half = len(file) // 2
    return file[:half] + bytes(20) + file[half + 20 :]


@pytest.fixture
def splits(tmp_path, data_config):
    """Returns the configuration and the splits of a folder with many kinds of files."""
    files = [encode(noise(50 + i, 70 - i)) for i in range(8)]
    turned = Image.Exif()
    turned[0x0112] = 6
    files += [encode(noise(), exif=turned), encode(noise()[..., 0])]
    stream = io.BytesIO()
    Image.fromarray(noise()).convert("CMYK").save(stream, "JPEG")
    png = io.BytesIO()
    Image.fromarray(noise()).save(png, "PNG")
    files += [stream.getvalue(), png.getvalue()]
    for split, name in itertools.product(("train", "val", "test"), "ab"):
        folder = tmp_path / split / name
        folder.mkdir(parents=True)
        for number, file in enumerate(files[name == "b" :: 2]):
            (folder / f"{number:02}.jpg").write_bytes(file)

    def make(**fields):
        fields = {"train_crop": "random_resized_crop", "min_area": 0.5} | fields
        data = data_config(dir=tmp_path, **fields)
        return data, load_dataset(data).splits

    return make


def batches_of(source, data, room=0):
    return TrainBatches(source, data, seed=0, batch_size=4, room=room)


def count_whole(monkeypatch):
    """Returns a list that gets an entry for each file that is decoded whole."""
    decode, found = decoding.decode, []

    def counting(encoded, *args, **options):
        found.append(encoded)
        return decode(encoded, *args, **options)

    monkeypatch.setattr(decoding, "decode", counting)
    return found


@pytest.mark.parametrize("pixels", ["shown", "stored"])
@pytest.mark.parametrize("channels", [1, 3])
def test_later_epochs_have_the_batches_of_whole_images(
    splits, monkeypatch, pixels, channels
):
    data, parts = splits(pixels=pixels, channels=channels)
    source = parts["train"]
    expected = [batches_of(source, data, 2**30).batch(i) for i in range(3 * EPOCH)]
    found, batches = count_whole(monkeypatch), batches_of(source, data)
    for step, other in enumerate(expected):
        if step == EPOCH:
            assert len(found) == 12
            found.clear()
        np.testing.assert_array_equal(batches.batch(step)["image"], other["image"])
    # Two epochs of four inks and of PNG, and of the picture that is turned.
    assert len(found) == 2 * (3 if pixels == "shown" else 2)


def test_other_crops_and_sizes_need_whole_images(splits, monkeypatch):
    for fields in ({"train_crop": "scale_jitter_crop"}, {"decode_side": 32}):
        data, parts = splits(**fields)
        batches = batches_of(parts["train"], data)
        for step in range(EPOCH):
            batches.batch(step)
        with monkeypatch.context() as patched:
            patched.setattr(jpeg_parts.JpegPixels, "__getitem__", None)
            batches.batch(EPOCH)


def test_a_file_that_is_damaged_later_is_refused(splits):
    """The library would give gray pixels for it, and print to stderr."""
    data, parts = splits()
    source, root = parts["train"], Path(data.dir)
    batches = batches_of(source, data)
    for step in range(EPOCH):
        batches.batch(step)
    for path in root.glob("train/*/00.jpg"):  # only parts of these are decoded
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"00\.jpg: not a readable image"):
        for step in range(EPOCH, 2 * EPOCH):
            batches.batch(step)


def test_a_damaged_file_is_refused_each_time():
    file, parts = damage(encode(noise())), JpegParts(1)
    for _ in range(2):
        with pytest.raises(decoding.UnreadableImageError):
            parts.decode(0, file, 3, shown=False)


def test_without_the_library_images_are_whole(splits, monkeypatch):
    monkeypatch.setattr(kept, "library", lambda: None)
    monkeypatch.setattr(JpegPixels, "__getitem__", None)
    data, parts = splits()
    batches = batches_of(parts["train"], data)
    for step in range(2 * EPOCH):
        batches.batch(step)


def test_the_import_is_silent_and_leaves_no_trace():
    code = (
        "import os; from cnn_arch.data import jpeg_parts;"
        "before = dict(os.environ); assert jpeg_parts.library();"
        "assert dict(os.environ) == before"
    )
    for value in (None, "elsewhere"):
        given = {} if value is None else {jpeg_parts.EXTENSIONS: value}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | given,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
