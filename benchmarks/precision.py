"""Times training steps in bfloat16 and in float32; precision=auto chooses one.

    python benchmarks/precision.py

Both are programs of one process, which take turns. Recipes for ImageNet have images of
96 px. --config.KEY=VALUE changes a setting of all recipes.
"""

from typing import Any

import passes
import rounds

SMALL = (
    "lenet5:mnist lenet:mnist cuda_convnet:cifar10 resnet20:cifar10 resnet56:cifar10"
)
RECIPES = f"{SMALL} nin_cifar:cifar10 alexnet vgg11 googlenet googlenet_bn resnet18"


def time_step(recipe: str, words: list[str], options: Any) -> dict[str, Any]:
    """Compares the training step of a recipe in both precisions."""
    plain = [f"--config={recipe}", "--config.precision=float32"]
    if ":" not in recipe:  # for ImageNet
        plain.append(f"--config.data.image_size={options.image_size}")
        plain.append(f"--config.batch_size={options.batch_size}")
    changed = ["--config.precision=bfloat16"]
    seconds = passes.time_two_steps([*plain, *words], changed, options, recipe)
    # Of speeds, so that above 1 bfloat16 is faster.
    float32, bfloat16 = ([1 / each for each in times] for times in seconds)
    ratio, spread = rounds.compare(bfloat16, float32)
    times = {
        name: rounds.summarize([1000 * each for each in times], 2)
        for name, times in zip(("float32", "bfloat16"), seconds, strict=True)
    }
    return {"recipe": recipe, "milliseconds": times, "ratio": ratio, "spread": spread}


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = rounds.make_parser(__doc__, "precision")
    add = parser.add_argument
    add("--recipes", default=RECIPES.replace(" ", ","), help="as a,b:DATA")
    add("--batch_size", type=int, default=32, help="of recipes for ImageNet")
    add("--image_size", type=int, default=96, help="of recipes for ImageNet")
    add("--seconds", type=float, default=2.0, help="at least, of a side in a round")
    options, words = rounds.parse_with_settings(parser)
    path = rounds.result_path("precision", options.output)
    results = rounds.header("precision of training steps", options.rounds)
    results |= {"settings": words, "steps": []}
    rows = []
    for recipe in options.recipes.split(","):
        row = time_step(recipe, words, options)
        results["steps"].append(row)
        rounds.write(path, results)
        times = [rounds.shown(each) for each in row["milliseconds"].values()]
        rows.append([recipe, *times, rounds.shown_ratio(row["ratio"], row["spread"])])
    columns = ["recipe", "float32, ms a step", "bfloat16", "bfloat16 is faster by"]
    rounds.print_table(columns, rows, path)


if __name__ == "__main__":
    main()
