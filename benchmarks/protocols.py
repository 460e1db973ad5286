"""Times ten crops of each image against ten evaluations of one crop.

    python benchmarks/protocols.py

Both are passes over the same decoded images in one process, which take turns: cutting,
transfer, forward passes and the mean. A ratio of 1 is equal throughput.
--config.KEY=VALUE changes a setting of the recipe.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import rounds


def time_protocols(options: Any, words: list[str]) -> dict[str, Any]:
    """Returns images a second of both, with ten crops of each image."""
    case = {
        "words": [
            f"--config=configs/{options.recipe}.py",
            f"--config.batch_size={options.batch_size}",
            *words,
        ],
        "num_images": options.num_images,
    }
    with ExitStack() as stack:
        worker = rounds.our_worker("protocols_ours")
        rounds.open_side(stack, "cnn_arch", worker, case)

        def turn(name: str) -> float:
            return worker.ask({"pass": name, "num_calls": 1})["seconds"]

        names = "ten_crop", "one_crop_ten_times"
        turns = {name: partial(turn, name) for name in names}
        seconds = rounds.take_turns(turns, options.rounds, "protocols")
    ten, single = (
        [options.num_images / each for each in seconds[name]] for name in names
    )
    ratio, spread = rounds.compare(ten, single)
    rates = {"ten_crop": rounds.summarize(ten, 2)}
    rates["one_crop_ten_times"] = rounds.summarize(single, 2)
    return {"images_per_second": rates, "ratio": ratio, "spread": spread}


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = rounds.make_parser(__doc__, "protocols")
    add = parser.add_argument
    add("--recipe", default="alexnet")
    add("--batch_size", type=int, default=40)
    add("--num_images", type=int, default=40)
    options, words = rounds.parse_with_settings(parser)
    path = rounds.result_path("protocols", options.output)
    results = rounds.header("ten crops", options.rounds) | {"settings": words}
    measured = time_protocols(options, words)
    rounds.write(path, results | measured)
    ratio = rounds.shown_ratio(measured["ratio"], measured["spread"])
    shown = [rounds.shown(each) for each in measured["images_per_second"].values()]
    columns = ["recipe", "ten_crop, images/s", "one_crop ten times", "ratio"]
    rounds.print_table(columns, [[options.recipe, *shown, ratio]], path)


if __name__ == "__main__":
    main()
