"""Times train.py from its start to the end of its first step.

    python benchmarks/startup.py

Cold: with an empty cache of compiled programs. Cached: with the cache that the cold
start left. The command runs on a pseudo-terminal. The first step has ended when the
progress bar counts it, up to 0.1 s later. Unix only.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

import rounds

# The labels of the command's lines, in this order.
LABELS = ("run", "device", "data", "model", "recipe", "look at", "compile", "epoch")
# The bar of the first epoch, with a count above 0.
FIRST_STEP = re.compile(r"epoch 1\b[^\r\n]*?\b0*[1-9]\d*/\d+")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # of colour and of the cursor


def read_marks(text: str, seconds: float, marks: dict[str, float]) -> None:
    """Adds new labels, and the first step, to the marks.

    Args:
      text: the command's output so far.
      seconds: since its start.
      marks: seconds by label.
    """
    text = ESCAPES.sub("", text)
    for label in LABELS:
        if label not in marks and re.search(rf"(^|[\r\n]){label} +\S", text):
            marks[label] = seconds
    if FIRST_STEP.search(text):
        marks["first_step"] = seconds


def start_once(
    words: list[str], folder: Path, cache: Path, limit_seconds: float
) -> dict[str, float]:
    """Runs the command until its first step has ended; returns the marks.

    Raises:
      SystemExit: it ended earlier, or took too long.
    """
    workdir = tempfile.mkdtemp(dir=folder)
    command = [sys.executable, "train.py", *words, f"--workdir={workdir}/run"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "TERM": "xterm"}
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=rounds.ROOT,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    text, marks = "", {}
    try:
        while "first_step" not in marks:
            seconds = time.perf_counter() - start
            if seconds > limit_seconds:
                raise SystemExit(f"{text}\nerror: no first step in {limit_seconds:g} s")
            if not select.select([ours], [], [], 0.02)[0]:
                continue
            try:
                shown = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                shown = b""
            if not shown:
                raise SystemExit(f"{text}\nerror: train.py ended before a first step")
            text += shown.decode(errors="replace")
            read_marks(text, time.perf_counter() - start, marks)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
    return marks


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = rounds.make_parser(__doc__, "startup")
    parser.add_argument("--config", default="configs/lenet5.py")
    parser.add_argument("--limit_seconds", type=float, default=600.0)
    options, settings = parser.parse_known_args()
    words = [f"--config={options.config}", *settings]
    path = rounds.result_path("startup", options.output)
    results = rounds.header("start of train.py to the first step", options.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder, caches = Path(name), []

        def cached() -> dict[str, float]:
            return start_once(words, folder, caches[-1], options.limit_seconds)

        def cold() -> dict[str, float]:
            caches.append(Path(tempfile.mkdtemp(dir=folder)))
            return cached()

        turns = {"cold": cold, "cached": cached}
        measured = rounds.take_turns(turns, options.rounds, "start-up")

    rows: list[dict[str, Any]] = [
        {
            "cache": name,
            "seconds": {
                label: rounds.summarize([mark[label] for mark in marks], 2)
                for label in (*LABELS, "first_step")
                if all(label in mark for mark in marks)
            },
        }
        for name, marks in measured.items()
    ]
    results |= {"words": words, "rows": rows}
    rounds.write(path, results)
    lines = [
        [label.replace("_", " ")]
        + [rounds.shown(row["seconds"][label]) for row in rows]
        for label in rows[0]["seconds"]
    ]
    columns = ["seconds until", *(row["cache"] for row in rows)]
    rounds.print_table(columns, lines, path)


if __name__ == "__main__":
    main()
