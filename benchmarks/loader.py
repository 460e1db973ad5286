"""Times how fast training batches are made, beside tf.data and PyTorch's DataLoader.

    python benchmarks/loader.py --data_dir=DIR --peer_python=PEER/bin/python \
        --tf_python=TF/bin/python

All read the JPEG files of DIR/train/CLASS/*, cut a random box to 224 px, flip half of
them, and hand over batches of uint8 images; all have as many threads or processes. The
floor, libjpeg-turbo alone, only decodes. A peer whose Python is not given is left out.
"""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

import rounds

WARMUP_BATCHES = 8  # empty the queue that filled while nobody took from it
LOADERS = {
    "cnn_arch": "threads, simplejpeg and OpenCV",
    "tfdata": "threads, decodes the box alone",
    "pytorch_pil": "processes, Pillow",
    "pytorch_io": "processes, torchvision.io",
    "libjpeg_turbo": "threads, simplejpeg; decodes alone",
}


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="holds train/CLASS/*.jpg")
    add("--peer_python", help="has torch and torchvision")
    add("--tf_python", help="has tensorflow and simplejpeg")
    add("--workers", type=int, default=2, help="threads, or processes")
    add("--batch_size", type=int, default=128)
    add("--num_batches", type=int, default=30, help="timed in a round")
    add("--image_size", type=int, default=224)
    add("--rounds", type=int, default=7)
    add("--output", help="default: benchmarks/results/loader-DATE.json")
    return parser.parse_args()


def start(name: str, options: argparse.Namespace) -> rounds.Worker | None:
    """Starts the worker of a loader, if its Python is given."""
    if name == "cnn_arch":
        return rounds.our_worker("loader_ours")
    is_torch = name.startswith("pytorch")
    python = options.peer_python if is_torch else options.tf_python
    modules = {"tfdata": "loader_tfdata", "libjpeg_turbo": "loader_floor"}
    module = "loader_pytorch" if is_torch else modules[name]
    return rounds.peer_worker(name, python, module) if python else None


def take(worker: rounds.Worker, num_batches: int) -> dict[str, float]:
    """Takes batches; returns seconds, processor seconds, and the greatest memory."""
    worker.ask({"pass": "batch", "num_calls": WARMUP_BATCHES})
    with rounds.peak_memory(worker.pid) as peak:
        answer = worker.ask({"pass": "batch", "num_calls": num_batches})
    return {**answer, "peak_bytes": peak[0]}


def summarize(
    name: str, measured: dict[str, list[dict]], num_images: int
) -> dict[str, Any]:
    """Returns a loader's row: medians and spreads over the rounds."""

    def rates(loader: str, unit: str) -> list[float]:
        return [num_images / answer[unit] for answer in measured[loader]]

    row: dict[str, Any] = {"loader": name, "how": LOADERS[name]}
    for key, unit in (
        ("images_per_second", "seconds"),
        ("images_per_cpu_second", "cpu_seconds"),
    ):
        row[key] = rounds.summarize(rates(name, unit))
        compared = rounds.compare(rates("cnn_arch", unit), rates(name, unit))
        row[f"ratio_{key}"], row[f"ratio_{key}_spread"] = compared
    peaks = [answer["peak_bytes"] / 2**20 for answer in measured[name]]
    row["peak_mib"] = rounds.summarize(peaks, 0)
    return row


def print_rows(rows: list[dict]) -> None:
    """Prints a line for each loader."""
    measures = "images_per_second", "images_per_cpu_second"
    columns = ["loader", "how", "img/s", "img/CPU-s", "memory, MiB"]
    lines = []
    for row in rows:
        line = [row["loader"], row["how"]]
        line += [rounds.shown(row[key]) for key in (*measures, "peak_mib")]
        for key in measures:
            low, high = row[f"ratio_{key}_spread"]
            line.append(f"{row[f'ratio_{key}']:.2f} ({low:.2f}-{high:.2f})")
        lines.append(line)
    rounds.print_table([*columns, "ours/its img/s", "ours/its img/CPU-s"], lines)


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    options = read_options()
    path = rounds.result_path("loader", options.output)
    results = rounds.header("random box to 224 px and flip", options.rounds)
    results["what"] = f"random box to {options.image_size} px, flip; uint8 batches"
    case = {
        "data_dir": str(Path(options.data_dir).resolve()),
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "workers": options.workers,
    }
    versions, turns = {}, {}
    with contextlib.ExitStack() as stack:
        for name in LOADERS:
            worker = start(name, options)
            if worker is None:
                rounds.console.print(f"{name}: left out: its Python is not given")
                continue
            stack.callback(worker.close)
            try:
                facts = worker.ask({**case, "loader": name})
            except rounds.WorkerError as error:
                if name == "cnn_arch":  # nothing is left to compare with
                    raise SystemExit(f"error: {error}") from None
                rounds.console.print(f"{name}: left out: {error}", style="yellow")
                continue
            versions |= facts["versions"]
            turns[name] = lambda worker=worker: take(worker, options.num_batches)
        measured = rounds.take_turns(turns, options.rounds, "loader")

    num_images = options.batch_size * options.num_batches
    rows = [summarize(name, measured, num_images) for name in measured]
    case["data_dir"] = os.path.basename(case["data_dir"])
    results |= {**case, "images_per_round": num_images}
    results |= {"versions": versions, "rows": rows}
    rounds.write(path, results)
    print_rows(rows)
    print(f"wrote    {path}")


if __name__ == "__main__":
    main()
