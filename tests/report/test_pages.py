"""Pages are parsed like in a browser, and compared with the files of the run."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_arch.files import write_csv
from cnn_arch.report.pages import write_readme, write_report
from tests.catalogue.browser import CHROMIUM, Browser

FACTS = {
    "command": "python train.py --config=configs/lenet5.py",
    "device": "cpu, 2 cores",
    "data": "digits: train 3,500",
    "evaluate": "python eval.py --workdir=run",
    "model": "lenet5: 60,850 parameters",
    "overrides": ["batch_size = 64 (recipe: 128)"],
}
HOSTILE = "</td><script>alert(1)</script>\n# `$x$` \u202e"
NAMES = ["cat", "dog", HOSTILE]
LABELS = 0, 0, 0, 0, 1, 2, 2, 2, 2
PREDICTIONS = 0, 0, 1, 0, 1, 0, 1, 1, 2


class Page(HTMLParser):
    """Collects the text, the tags and the rows of tables; tags must be balanced."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str):
        super().__init__()
        self.open_tags: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open_tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open_tags and {"td", "th"} & set(self.open_tags):
            self.rows[-1][-1] += data


@pytest.fixture
def workdir(tmp_path) -> Path:
    """A finished run with three classes, one of which has a hostile name."""
    run = tmp_path / "lenet5-digits-1"
    for folder in ("plots", "eval", "checkpoints/best"):
        (run / folder).mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(run / "plots/curves.png")
    Image.new("RGB", (4, 4), "blue").save(run / "plots/train_batch.jpg")
    settings = {"seed": 0, "data": {"dir": "<i>", "mean": [33.3]}}
    (run / "config.json").write_text(json.dumps(settings))
    (run / "metrics.csv").write_text(
        "epoch,step,train_loss,train_top1_error,validation_loss,validation_top1_error,"
        "validation_top5_error,learning_rate,images_per_second,seconds\n"
        "1,27,2.0,70.0,1.5,50.0,9.0,0.05,11000.4,0.31\n"
        "2,54,1.0,30.0,1.0,20.0,5.0,0.04,11000.4,0.31\n"
        "3,81,0.9,29.0,,20.0,,0.03,11000.4,0.31\n"
    )
    result = {"num_examples": 1234, "loss": 0.5, "top1_error": 1.6, "top5_error": 0.25}
    result |= {"protocol": "one crop", "checkpoint_step": 1081}
    results = {"validation": result | {"top1_error": 9.0}, "test": result}
    (run / "eval/results.json").write_text(json.dumps(results))
    columns = "index,file,label,label_name,prediction,prediction_name,probability,loss"
    rows: list[Any] = [columns.split(",")]
    for i, (label, prediction) in enumerate(zip(LABELS, PREDICTIONS, strict=True)):
        names = NAMES[label], NAMES[prediction]
        rows.append([i, f"{i}.png", label, names[0], prediction, names[1], 1, 1])
    write_csv(run / "eval/predictions_test.csv", rows)
    return run


def report(run: Path, facts=FACTS) -> Page:
    write_report(run, facts)
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_report_shows_the_test_result_first(workdir):
    page = report(workdir)
    assert "98.40 % of 1,234 test images are classified correctly." in page.text
    test = ["test", "1,234", "1.60", "0.25", "0.5000", "1,081", "one crop"]
    rows = [row for row in page.rows if row[0] in ("test", "validation")]
    assert rows == [test, ["validation", "1,234", "9.00", *test[3:]]]


def test_report_contains_the_pictures(workdir):
    sources = [tag[1]["src"] or "" for tag in report(workdir).tags if tag[0] == "img"]
    files = {"plots/curves.png": "image/png", "plots/train_batch.jpg": "image/jpeg"}
    for source, (name, kind) in zip(sources, files.items(), strict=True):
        picture = base64.b64encode((workdir / name).read_bytes()).decode()
        assert source == f"data:{kind};base64,{picture}"


def test_report_runs_nothing_and_fetches_nothing(workdir):
    page = report(workdir, FACTS | {"overrides": [HOSTILE], "model": HOSTILE})
    assert not {"script", "link", "iframe", "i"} & {tag for tag, _ in page.tags}
    attributes = [item for _, attrs in page.tags for item in attrs.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    addresses = [value or "" for name, value in attributes if name in ("src", "href")]
    assert all(address.startswith("data:image/") for address in addresses)
    assert "url(" not in (workdir / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in page.text


def test_report_counts_the_mistakes_of_each_class(workdir):
    shown = r"</td><script>alert(1)</script>\n# `$x$` \u202e"
    rows = [row for row in report(workdir).rows if row[0] in (*NAMES, shown)]
    assert rows == [
        [shown, "4", "75.0", "dog (2), cat (1)"],
        ["cat", "4", "25.0", "dog (1)"],
        ["dog", "1", "0.0", ""],
    ]


def test_report_marks_the_last_epoch_with_the_lowest_error(workdir):
    rows = [row for row in report(workdir).rows if row[0] in ("1", "2", "3")]
    assert [row[4] for row in rows] == ["50.00", "20.00", "20.00 *"]
    assert rows[2][3] == "-"  # no validation loss in the file
    assert rows[0][7] == "11,000"


def test_top5_is_left_out_where_there_are_at_most_five_classes(workdir):
    for count, is_shown in ((5, False), (6, True)):
        names = [*NAMES, *(f"class {i}" for i in range(3, count))]
        (workdir / "classes.json").write_text(json.dumps(names))
        write_readme(workdir, FACTS)
        assert ("top-5" in report(workdir).text) == is_shown
        assert ("top-5" in (workdir / "README.md").read_text()) == is_shown


def test_report_lists_every_setting(workdir):
    rows = report(workdir).rows
    for row in (["seed", "0"], ["data.dir", '"<i>"'], ["data.mean", "[33.3]"]):
        assert row in rows


def test_report_of_a_run_that_has_only_begun(tmp_path):
    page = report(tmp_path, FACTS | {"overrides": []})
    assert "Not evaluated yet." in page.text
    assert "nothing: the recipe is unchanged" in page.text
    assert page.rows == []


def test_report_of_a_failed_run_names_the_crash_file(workdir):
    assert "crash.txt" not in report(workdir).text
    (workdir / "crash.txt").write_text("Traceback")
    assert "crash.txt" in report(workdir).text


def test_readme_lists_exactly_the_files_present(workdir):
    write_report(workdir, FACTS)
    write_readme(workdir, FACTS)
    lines = (workdir / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("- `")]
    paths = workdir.rglob("*.*")
    present = {path.relative_to(workdir).as_posix() for path in paths} - {"README.md"}
    assert sorted(listed) == sorted(present | {"checkpoints/best"})


def test_readme_shows_command_result_and_changed_settings(workdir):
    write_readme(workdir, FACTS)
    text = (workdir / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# lenet5-digits-1\n\n98.40 % of 1,234 test images")
    assert "    command  python train.py --config=configs/lenet5.py\n" in text
    assert "test     top-1 error 1.60 %, top-5 error 0.25 %, loss 0.5000" in text
    assert "recipe\n\n    batch_size = 64 (recipe: 128)\n\n" in text
    assert "do with it\n\n    python eval.py --workdir=run\n" in text
    write_readme(workdir, FACTS | {"overrides": []})
    text = (workdir / "README.md").read_text(encoding="utf-8")
    assert "recipe\n\nNothing.\n\n" in text


def test_readme_shows_hostile_names_as_text(tmp_path):
    run = tmp_path / "a b_<img src=x>*"
    run.mkdir()
    facts = {"command": HOSTILE, "overrides": [HOSTILE], "evaluate": HOSTILE}
    write_readme(run, FACTS | facts)
    lines = (run / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == r"# a b\_\<img src\=x\>\*"
    assert [line for line in lines[1:] if line.startswith("#")] == [
        "## What differs from the recipe",
        "## Files in this directory",
        "## What to do with it",
    ]
    hostile = [line for line in lines if "<script>" in line]
    assert [line[:4] for line in hostile] == ["    "] * 3  # code, not markup


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_no_table_is_cut_on_a_phone(workdir):
    (workdir / "classes.json").write_text(json.dumps([*NAMES, *"abcdefgh"]))
    write_report(workdir, FACTS | {"command": "x" * 500})
    with Browser(400, 800) as browser:
        browser.open(workdir / "report.html")
        script = "document.querySelectorAll('details').forEach(e => e.open = true)"
        browser.evaluate(script)
        script = "[...document.querySelectorAll('.scroll, html')].map("
        widths = browser.evaluate(f"{script} e => [e.scrollWidth, e.clientWidth])")
    assert len(widths) == 5  # the page and its four tables
    for content, window in widths:
        assert content <= window
