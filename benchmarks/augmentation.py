"""Times changes of images on the device: other libraries' too, and in ResNet-50's step.

    python benchmarks/augmentation.py --peer_path=FOLDER

Both sides of a comparison are programs of one process, which take turns. Without a
folder with dm-pix and augmax, only the steps are timed. --config.KEY=VALUE changes a
setting of the recipe of the steps.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import passes
import rounds

# What each adds to the step, as settings of the recipe.
STEPS = {
    "pca_noise": ["data.pca_noise=0.1"],
    "jitter": ["data.brightness=0.4", "data.contrast=0.4", "data.saturation=0.4"],
    "hue": ["data.hue=0.1"],
    "trivial_augment": ["data.trivial_augment=True"],
    "erasing": ["data.erasing=0.25"],
    "mixup": ["data.mixup=0.2"],
    "cutmix": ["data.cutmix=1.0"],
    "average": ["optim.average=ema"],
}


def time_libraries(options: Any) -> dict[str, Any]:
    """Compares the changes with those of dm-pix and augmax."""
    command = [sys.executable, str(rounds.HERE / "augmentation_libraries.py")]
    path = os.pathsep.join([str(rounds.ROOT), options.peer_path])
    case = {"batch_size": options.batch_size, "image_size": options.image_size}
    with ExitStack() as stack:
        worker = rounds.Worker(command, PYTHONPATH=path)
        facts = rounds.open_side(stack, "cnn_arch", worker, case)
        measured = passes.time_passes(worker, facts, options, "libraries")
    rows = []
    for name, seconds in measured.items():
        change, library = name.split()
        ours = measured[f"{change} cnn_arch"]
        ratio, spread = rounds.compare(seconds, ours)
        milliseconds = rounds.summarize([1000 * s for s in seconds], 3)
        row = {"change": change, "library": library, "milliseconds": milliseconds}
        rows.append(row | {"times_ours": ratio, "spread": spread})
    return {"differences": facts["differences"], "libraries": rows}


def time_step(name: str, words: list[str], options: Any) -> dict[str, Any]:
    """Compares the step of a recipe with and without a change, in one process."""
    recipe = f"--config=configs/{options.recipe}.py"
    words = [recipe, f"--config.batch_size={options.batch_size}", *words]
    changes = [f"--config.{word}" for word in STEPS[name]]
    plain, changed = passes.time_two_steps(words, changes, options, name)
    ratio, spread = rounds.compare(changed, plain)
    return {
        "change": name,
        "settings": STEPS[name],
        "plain_milliseconds": rounds.summarize([1000 * each for each in plain], 2),
        "percent_of_step": round(100 * (ratio - 1), 2),
        "spread_percent": [round(100 * (each - 1), 2) for each in spread],
    }


def show_libraries(results: dict[str, Any], path: Path) -> None:
    """Prints the times of the changes, and their differences from ours."""
    rows = []
    for row in results["libraries"]:
        ratio = rounds.shown_ratio(row["times_ours"], row["spread"])
        milliseconds = rounds.shown(row["milliseconds"])
        rows.append([row["change"], row["library"], milliseconds, ratio])
    columns = ["change", "library", "ms a batch", "times ours"]
    rounds.print_table(columns, rows, path)
    rows = [list(map(str, row.values())) for row in results["differences"]]
    columns = ["change", "library", "largest difference, levels", "mean"]
    rounds.print_table(columns, rows, path)


def show_steps(steps: list[dict[str, Any]], path: Path) -> None:
    """Prints what each change adds to the step."""
    rows = []
    for row in steps:
        low, high = row["spread_percent"]
        cost = f"{row['percent_of_step']:+.1f} %", f"{low:+.1f} to {high:+.1f}"
        rows.append([row["change"], rounds.shown(row["plain_milliseconds"]), *cost])
    columns = ["change", "plain step, ms", "cost", "in single rounds, %"]
    rounds.print_table(columns, rows, path)


def main() -> None:
    """Runs the rounds, prints the tables and writes the results."""
    parser = rounds.make_parser(__doc__, "augmentation")
    add = parser.add_argument
    add("--peer_path", help="folder with dm-pix, augmax and what they need")
    add("--recipe", default="resnet50_v1_5")
    add("--steps", default=",".join(STEPS), help="as a,b; empty: none")
    add("--batch_size", type=int, default=32)
    add("--image_size", type=int, default=224, help="of the comparison of libraries")
    add("--seconds", type=float, default=2.0, help="at least, of a side in a round")
    options, words = rounds.parse_with_settings(parser)
    steps = [name for name in options.steps.split(",") if name]
    if unknown := set(steps) - set(STEPS):
        parser.error(f"--steps: no {', '.join(unknown)}; there are {', '.join(STEPS)}")

    path = rounds.result_path("augmentation", options.output)
    results = rounds.header("augmentation on the device", options.rounds)
    results |= {"settings": words, "steps": []}
    if options.peer_path:
        results |= time_libraries(options)
        rounds.write(path, results)
        show_libraries(results, path)
    for name in steps:
        results["steps"].append(time_step(name, words, options))
        rounds.write(path, results)
    if steps:
        show_steps(results["steps"], path)


if __name__ == "__main__":
    main()
