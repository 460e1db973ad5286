"""Pictures are read as pixels, or drawn on a figure and measured."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cnn_arch.drawing import canvas
from cnn_arch.report import plots

PAIR = np.array([0.5, 1.0])
HOSTILE = [r"$\frac$", "a\nb", "衣服", "<b>", "\udcff", "", "$", "x" * 300]


DOTS = canvas.STYLE["savefig.dpi"]  # px in an inch


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def pixel(path: Path, x_inches: float, y_inches: float) -> list[int]:
    return pixels(path)[int(y_inches * DOTS), int(x_inches * DOTS)].tolist()


def tile_centre(i: int, columns: int, size: float, lines: int) -> tuple[float, float]:
    row_height = size + lines * canvas.LINE + canvas.GAP
    return (
        canvas.GAP + (i % columns) * (size + canvas.GAP) + size / 2,
        canvas.TITLE + (i // columns) * row_height + size / 2,
    )


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a function under test writes."""
    figures: list[Figure] = []

    def write(figure: Figure, path: Path) -> None:
        FigureCanvasAgg(figure).draw()
        figures.append(figure)

    monkeypatch.setattr(plots, "write", write)
    return figures


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_train_batch_shows_each_image_next_to_its_evaluation(tmp_path, suffix):
    colors = np.array([[200, 30, 40], [20, 180, 60], [10, 20, 220]], np.uint8)
    images = np.tile(colors[np.arange(16) % 3][:, None, None], (1, 32, 32, 1))
    path = tmp_path / "plots" / f"train_batch{suffix}"
    names = [[("name", 1.0)]] * 16
    plots.train_batch(path, "title", images, 255 - images, names)
    for i in (0, 1, 3, 4, 14, 15):
        centre = tile_centre(2 * i, 8, canvas.TILE, lines=1)
        np.testing.assert_allclose(pixel(path, *centre), colors[i % 3], atol=6)
        centre = tile_centre(2 * i + 1, 8, canvas.TILE, lines=1)
        np.testing.assert_allclose(pixel(path, *centre), 255 - colors[i % 3], atol=6)
    height_inches = canvas.TITLE + 4 * (canvas.TILE + canvas.LINE + canvas.GAP)
    height = len(pixels(path)) / DOTS
    assert height == pytest.approx(height_inches + canvas.GAP, abs=0.02)  # 32 images
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_mixed_images_show_both_classes_and_shares(tmp_path, drawn):
    images = np.zeros((1, 8, 8, 3), np.uint8)
    mixed = [("sandal", 0.7), ("a boot with a long name", 0.3)]
    plots.train_batch(tmp_path / "a.png", "title", images, images, [mixed])
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts[1].splitlines() == ["70 % sandal", "30 % a boot w…"]
    assert texts[2].splitlines()[0] == "in evaluation"


def test_grey_images_keep_their_greys(tmp_path):
    greys = np.array([0, 90, 255], np.uint8)
    images = np.tile(greys[:, None, None, None], (1, 28, 28, 1))
    names = [[(name, 1.0)] for name in "012"]
    plots.train_batch(tmp_path / "a.png", "title", images, images, names)
    for i, grey in enumerate(greys):
        centre = tile_centre(2 * i, 8, canvas.TILE, lines=1)
        assert pixel(tmp_path / "a.png", *centre) == [grey] * 3


def test_filters_are_grey_at_zero_and_scaled_one_by_one(tmp_path):
    kernel = np.zeros((3, 3, 3, 8), np.float32)
    kernel[..., 1] = 0.25
    kernel[..., 2] = -7
    kernel[..., :, 3] = [1, -1, 0]
    plots.filters_conv1(tmp_path / "filters.png", kernel)
    shades = [[128] * 3, [255] * 3, [0] * 3, [255, 0, 128]]
    for i, shade in enumerate(shades):
        assert pixel(tmp_path / "filters.png", *tile_centre(i, 8, 10 / 8, 0)) == shade


def test_curves_draw_the_numbers_and_mark_the_lowest_error(drawn, tmp_path):
    rows = [
        {"epoch": "1", "train_loss": "2.5", "validation_top1_error": "40.0"},
        {"epoch": "2", "train_loss": "1.5", "validation_top1_error": "12.5"},
        {"epoch": "3", "train_loss": "", "validation_top1_error": "12.5"},
        {"epoch": 4, "train_loss": 0.5, "validation_top1_error": 13.0},
    ]
    plots.curves(tmp_path / "curves.png", rows)
    loss, error, rate = drawn[0].axes
    (train,) = loss.lines
    np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(train.get_ydata(), [2.5, 1.5, np.nan, 0.5])
    validation, star = error.lines
    np.testing.assert_array_equal(validation.get_ydata(), [40, 12.5, 12.5, 13])
    assert (star.get_xdata().item(), star.get_ydata().item()) == (3, 12.5)
    assert star.get_label() == "best: 12.50 % at epoch 3"
    assert not rate.lines


def test_one_epoch_is_drawn_as_points(drawn, tmp_path):
    row = {"epoch": 1, "train_loss": 2.3, "learning_rate": 0.1}
    plots.curves(tmp_path / "curves.png", [row])
    loss, error, rate = drawn[0].axes
    assert not error.lines
    for axes, value in ((loss, 2.3), (rate, 0.1)):
        (line,) = axes.lines
        assert line.get_marker() == "o"
        assert line.get_ydata() == [value]
        assert axes.get_ylim()[1] > 1.05 * value  # the point is not cut
    # Points and texts are large enough where a phone scales the picture to 400 px.
    scale = 400 / (72 * drawn[0].get_figwidth())
    texts = [loss.title, *loss.get_xticklabels(), *loss.get_legend().get_texts()]
    assert min(text.get_fontsize() for text in texts) * scale > 8


def test_no_legend_covers_a_point(drawn, tmp_path):
    names = [name for lines in plots.CURVES.values() for name, *_ in lines]
    rows = [{"epoch": i + 1, **dict.fromkeys(names, 90)} for i in range(12)]
    plots.curves(tmp_path / "curves.png", rows)
    for axes in drawn[0].axes[:2]:
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1 - 1
        assert legend.x0 > axes._left_title.get_window_extent().x1


def test_confusion_shows_percent_of_the_true_class(drawn, tmp_path):
    matrix = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 398]])
    plots.confusion(tmp_path / "confusion.png", matrix, ["a", "b", "c"])
    axes = drawn[0].axes[0]
    shown = axes.images[0].get_array()
    expected = [[75, 25, 0], [0, 0, 0], [0.25, 0.25, 99.5]]
    np.testing.assert_allclose(shown, expected)
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    cells = {(0, 0): "75", (1, 0): "25", (0, 2): "<1", (1, 2): "<1", (2, 2): "100"}
    assert texts == cells


@pytest.mark.parametrize("num_classes", [2, 10, 35, 100, 1000])
def test_class_names_do_not_overlap(drawn, tmp_path, num_classes):
    names = [f"class number {i}, a name" for i in range(num_classes)]
    plots.confusion(tmp_path / "a.png", np.eye(num_classes, dtype=int), names)
    axes = drawn[0].axes[0]
    for side, axis in enumerate((axes.xaxis, axes.yaxis)):
        labels = axis.get_ticklabels()
        assert len(labels) >= min(num_classes, 80)
        boxes = np.array([label.get_window_extent().get_points() for label in labels])
        starts, ends = np.sort(boxes[:, :, side], axis=0).T
        assert (ends[:-1] <= starts[1:] + 0.5).all()  # pixels
        assert (boxes[:, 0] >= drawn[0].bbox.get_points()[0]).all()
        assert min(label.get_fontsize() for label in labels) >= 6.5


def test_most_confused_has_a_row_a_pair(drawn, tmp_path):
    images = np.tile(np.arange(12, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 1))
    true_names = ["4"] * 10 + ["7"] * 2
    predicted_names = ["9"] * 10 + ["2"] * 2
    probabilities = np.linspace(0.2, 0.999, 12)
    examples = plots.Examples(images, true_names, predicted_names, probabilities)
    plots.most_confused(tmp_path / "a.png", examples)
    axes = drawn[0].axes[0]
    shades = [int(np.asarray(image.get_array()).max()) for image in axes.images]
    assert shades == [*range(8), 10, 11]  # at most eight of a pair
    texts = [text.get_text() for text in axes.texts]
    assert texts[1] == "4  taken for  9"
    assert texts[10] == "7  taken for  2"
    assert (texts[2], texts[-1]) == ("20 %", ">99 %")


def test_top_losses_show_the_true_and_the_predicted_class(tmp_path, monkeypatch):
    captions = []

    def mosaic(title, images, given):
        captions.extend(given)
        return plots.Figure()

    monkeypatch.setattr(plots, "mosaic", mosaic)
    images = np.zeros((2, 8, 8, 3), np.uint8)
    names = ["shirt", "a name that does not fit below"]
    examples = plots.Examples(images, names, names[::-1], PAIR)
    plots.top_losses(tmp_path / "a.jpg", examples, 9 * PAIR)
    assert captions[0] == "is shirt\nnet a name th…\n50 %, loss 4.5"
    assert captions[1] == "is a name tha…\nnet shirt\n>99 %, loss 9.0"


def test_predictions_bars_are_as_long_as_the_probabilities(drawn, tmp_path):
    image = np.zeros((8, 8, 1), np.uint8)
    answers = [
        [{"class": "a", "probability": 0.75}, {"class": "b", "probability": 0.25}],
        [{"class": "b", "probability": 0.5}, {"class": "a", "probability": 0.4}],
    ]
    pictures = [("one.png", image), ("two.png", image)]
    plots.predictions(tmp_path / "a.jpg", pictures, answers)
    axes = drawn[0].axes[0]
    widths = np.array([bar.get_width() for bar in axes.patches])
    np.testing.assert_allclose(widths / widths[0], [1, 1 / 3, 2 / 3, 0.4 / 0.75])
    texts = [text.get_text() for text in axes.texts]
    assert texts[1:6] == ["one.png", "a", "75 %", "b", "25 %"]


def test_hostile_names_are_drawn_as_names(tmp_path):
    images = np.zeros((len(HOSTILE), 8, 8, 3), np.uint8)
    ones = np.ones(len(HOSTILE))
    path = tmp_path / "a.jpg"
    for number in (1, 2):
        parts = [[(name, 1 / number)] * number for name in HOSTILE]
        plots.train_batch(path, HOSTILE[0], images, images, parts)
    plots.confusion(path, np.eye(len(HOSTILE), dtype=int), HOSTILE)
    examples = plots.Examples(images, HOSTILE, HOSTILE[::-1], ones)
    plots.most_confused(path, examples)
    plots.top_losses(path, examples, ones)
    answers = [[{"class": name, "probability": 1.0}] for name in HOSTILE]
    plots.predictions(path, list(zip(HOSTILE, images, strict=True)), answers)


def test_no_mistakes_and_no_images_are_no_error(tmp_path):
    images = np.zeros((0, 8, 8, 3), np.uint8)
    examples = plots.Examples(images, [], [], PAIR[:0])
    plots.most_confused(tmp_path / "a.png", examples)
    plots.top_losses(tmp_path / "b.jpg", examples, PAIR[:0])
    assert pixels(tmp_path / "a.png").size


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    (tmp_path / ".draft-curves.png").mkdir()
    with pytest.raises(OSError, match=f"'{path}'$"):
        plots.curves(path, [{"epoch": 1, "train_loss": 1}])
    assert path.read_bytes() == b"old"
