"""Lines are visible, short where the user could make them long, and never fatal."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnn_arch.screen import Screen, collect_log, one_line, printable

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("t-shirt", "t-shirt"),
        ("a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # right-to-left override
        (os.fsdecode(b"\xff.jpg"), r"\xff.jpg"),
        ("衣服 é", "衣服 é"),
    ],
)
def test_printable_escapes_what_cannot_be_seen(text, shown):
    assert printable(text) == shown


def test_printable_cuts_to_the_width():
    assert printable("trousers", 8) == "trousers"
    assert printable("trousers", 7) == "trouse…"
    assert printable("衣服衣服", 8) == "衣服衣服"
    assert printable("衣服衣服", 7) == "衣服衣…"
    assert printable("衣服衣服", 6) == "衣服…"
    assert printable("a" * 10**7, 3) == "aa…"  # at once


def test_a_long_value_in_a_message_is_cut(monkeypatch):
    word = f"--config.data.dir={'a b ' * 5000}"
    monkeypatch.setattr(sys, "argv", ["train.py", word])
    for given in (word, f"--weights={'x' * 5000}", "\x1b" * 400):
        shown = one_line(f"{given}: must be short; cut it")
        assert shown[:10] == printable(given)[:10]
        assert shown.endswith(": must be short; cut it")
        assert len(shown) <= 230
    assert len(one_line("name, " * 5000)) == 1000


def test_the_log_has_what_was_said_before_it_was_opened(tmp_path, capsys, monkeypatch):
    """The first line, a line of a library, a warning: in the order of time."""
    # Another test's library may have disabled all loggers.
    monkeypatch.setattr(logging.getLogger("cnn_arch"), "disabled", False)
    handlers = logging.root.handlers[:]
    try:
        collect_log()
        screen = Screen()
        screen.say("run", "runs/\x1b[31ma")
        logging.getLogger("a.library").warning("no\x07 font")
        screen.log_to(tmp_path / "log.txt")
        screen.warn("slow")
    finally:
        logging.basicConfig(handlers=handlers, force=True)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        r"cnn_arch INFO run      runs/\x1b[31ma",
        r"a.library WARNING no\x07 font",
        "cnn_arch WARNING slow",
    ]
    shown = capsys.readouterr()
    assert shown.out == "run      runs/\\x1b[31ma\n"
    assert shown.err == "warning: slow\n"


SPEAKS = """
import sys
from cnn_arch.screen import Screen, collect_log, prepare_streams
prepare_streams()
collect_log()
screen = Screen()
for number in range(20_000 if sys.argv[1] == "long" else 1):
    screen.row("衣服")
screen.warn("衣服")
with open(sys.argv[2], "w") as file:
    file.write("only this")
"""


@pytest.mark.parametrize(
    ("pipe", "length"),
    [
        (">&-", "short"),
        ("2>&-", "short"),
        ("<&- >&- 2>&-", "short"),
        ("| head -1", "long"),
    ],
)
def test_a_reader_that_is_gone_ends_nothing(tmp_path, pipe, length):
    """And no file of the run gets the number of a closed stream."""
    path = tmp_path / "file"
    line = f'set -o pipefail; "$0" -c "$1" {length} {path} {pipe}'
    words = ["bash", "-c", line, sys.executable, SPEAKS]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Error" not in result.stderr
    assert path.read_text() == "only this"


def test_a_locale_without_utf8_changes_no_name():
    """The command starts again with UTF-8, once."""
    code = "from cnn_arch import cli; cli._use_utf8(); import sys;"
    code += "print(sys.getfilesystemencoding(), ascii(sys.argv[1]))"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for options, shown in (([], r"utf-8 '\xe9'"), (["-X", "utf8=0"], "ascii ")):
        words = [sys.executable, *options, "-c", code, "é"]
        result = subprocess.run(words, cwd=ROOT, env=env, capture_output=True)
        assert result.stdout.decode().startswith(shown), result.stderr


def test_an_encoding_without_the_name_escapes_it(tmp_path):
    words = [sys.executable, "-c", SPEAKS, "short", str(tmp_path / "file")]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.stdout == "\\u8863\\u670d\n"
    assert result.stderr == "warning: \\u8863\\u670d\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it is of Linux")
def test_a_log_that_cannot_be_written_is_one_warning():
    code = (
        "from pathlib import Path; from cnn_arch.screen import Screen; "
        "screen = Screen(); screen.log_to(Path('/dev/full')); "
        "screen.say('run', 'one'); screen.say('train', 'two')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert result.stdout == "run      one\ntrain    two\n"
    reason = "lines are missing there (No space left on device)"
    assert result.stderr == f"warning: /dev/full: {reason}\n"
