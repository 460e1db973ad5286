"""Times how fast training batches are made: here, by tf.data and by PyTorch.

    python benchmarks/loader.py --data_dir=DIR --peer_python=PEER/bin/python \
        --tf_python=TF/bin/python

All sides read the JPEG files of DIR/train/CLASS/*, cut a random box to 224 px, flip
half of the images, and return batches of uint8 images, with the same number of threads
or processes. Ours begins with its second epoch, as its first decodes whole files. The
lower limit, libjpeg-turbo alone, only decodes whole files. Without a peer's Python, the
peer is left out.
"""

import argparse
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import rounds

WARMUP_BATCHES = 8  # empties the queue, which filled while other sides ran
MEMORY_INTERVAL_SECONDS = 0.2  # between two measurements of the memory
# How it works, its worker, and the option with its Python ("": this one).
LOADERS = {
    "cnn_arch": ("threads, nvImageCodec and OpenCV", "loader_ours", ""),
    "cnn_arch_bilinear": ("the same; bilinear as tf.data", "loader_ours", ""),
    "tfdata": ("threads, decodes the box alone", "loader_tfdata", "tf_python"),
    "pytorch_pil": ("processes, Pillow", "loader_pytorch", "peer_python"),
    "pytorch_io": ("processes, torchvision.io", "loader_pytorch", "peer_python"),
    "libjpeg_turbo": (
        "threads, simplejpeg; decodes alone",
        "loader_floor",
        "tf_python",
    ),
}
MEASURES = {"images_per_second": "seconds", "images_per_cpu_second": "cpu_seconds"}


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = rounds.make_parser(__doc__, "loader", num_rounds=7)
    add = parser.add_argument
    add("--data_dir", required=True, help="has train/CLASS/*.jpg")
    add("--peer_python", help="has torch and torchvision")
    add("--tf_python", help="has tensorflow and simplejpeg")
    add("--workers", type=int, default=2, help="threads, or processes")
    add("--batch_size", type=int, default=128)
    add("--num_batches", type=int, default=30, help="timed in a round")
    add("--image_size", type=int, default=224)
    return parser.parse_args()


def start(name: str, options: argparse.Namespace) -> rounds.Worker | None:
    """Starts the worker of a loader, if its Python is given."""
    _, module, option = LOADERS[name]
    if not option:
        return rounds.our_worker(module)
    python = getattr(options, option)
    return rounds.peer_worker(python, module) if python else None


def memory_bytes(pid: int) -> int:
    """Returns the memory of a process and its children; shared pages count once."""
    total = 0
    for process in rounds.process_tree(pid):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)  # only Linux has the PSS
    return total


@contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Measures the memory of a process tree repeatedly; yields [the maximum]."""
    peak, done = [memory_bytes(pid)], threading.Event()

    def measure() -> None:
        while not done.wait(MEMORY_INTERVAL_SECONDS):
            peak[0] = max(peak[0], memory_bytes(pid))

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def take(worker: rounds.Worker, num_batches: int) -> dict[str, float]:
    """Takes batches; returns seconds, processor seconds, and the peak memory."""
    worker.ask({"pass": "batch", "num_calls": WARMUP_BATCHES})
    with peak_memory(worker.pid) as peak:
        answer = worker.ask({"pass": "batch", "num_calls": num_batches})
    return {**answer, "peak_bytes": peak[0]}


def summarize(
    name: str, measured: dict[str, list[dict]], num_images: int
) -> dict[str, Any]:
    """Returns a loader's row: medians and spreads over the rounds."""

    def rates(loader: str, unit: str) -> list[float]:
        return [num_images / answer[unit] for answer in measured[loader]]

    row: dict[str, Any] = {"loader": name, "how": LOADERS[name][0]}
    for key, unit in MEASURES.items():
        row[key] = rounds.summarize(rates(name, unit))
        compared = rounds.compare(rates("cnn_arch", unit), rates(name, unit))
        row[f"ratio_{key}"], row[f"ratio_{key}_spread"] = compared
    peaks = [answer["peak_bytes"] / 2**20 for answer in measured[name]]
    row["peak_mib"] = rounds.summarize(peaks, 0)
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """Returns a row of the table."""
    ratios = [(row[f"ratio_{key}"], row[f"ratio_{key}_spread"]) for key in MEASURES]
    return [
        row["loader"],
        row["how"],
        *(rounds.shown(row[key]) for key in (*MEASURES, "peak_mib")),
        *(rounds.shown_ratio(ratio, spread) for ratio, spread in ratios),
    ]


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    options = read_options()
    path = rounds.result_path("loader", options.output)
    what = f"random box to {options.image_size} px, flip; uint8 batches"
    results = rounds.header(what, options.rounds)
    case = {
        "data_dir": str(Path(options.data_dir).resolve()),
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "workers": options.workers,
    }
    versions, turns = {}, {}
    with ExitStack() as stack:
        for name in LOADERS:
            worker = start(name, options)
            if worker is None:
                rounds.console.print(f"{name}: left out: its Python is not given")
                continue
            facts = rounds.open_side(stack, name, worker, {**case, "loader": name})
            if "error" not in facts:
                versions |= facts["versions"]
                turns[name] = partial(take, worker, options.num_batches)
        measured = rounds.take_turns(turns, options.rounds, "loader")

    num_images = options.batch_size * options.num_batches
    rows = [summarize(name, measured, num_images) for name in measured]
    case["data_dir"] = Path(case["data_dir"]).name
    results |= {**case, "images_per_round": num_images}
    results |= {"versions": versions, "rows": rows}
    rounds.write(path, results)
    columns = ["loader", "how", "img/s", "img/CPU-s", "memory, MiB"]
    columns += ["ours/its img/s", "ours/its img/CPU-s"]
    rounds.print_table(columns, map(cells, rows), path)


if __name__ == "__main__":
    main()
