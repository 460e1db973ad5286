"""Times steps with the flags of XLA that the program sets, and without each of them.

    python benchmarks/flags.py --networks=resnet20,resnet18

Each side is a process with other flags; the sides take turns. A ratio is the time
without a flag over the time with all of them: above 1, the flag makes the step faster.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import rounds
import train_step

NETWORKS = "resnet20", "googlenet_bn", "resnet18", "alexnet"
NONE = "--xla_dump_hlo_as_text=false"  # XLA's default, so that ours are not set


def sides() -> dict[str, str]:
    """Returns the flags of each side: all first, then without one, then without any."""
    from cnn_arch import processor
    from cnn_arch.parallel.runtime import cpu_flags

    flags = cpu_flags(processor.vector_unit())
    without = {
        f"without {flag.partition('=')[0].removeprefix('--xla_cpu_')}": " ".join(
            other for other in flags if other != flag
        )
        for flag in flags
    }
    return {"cnn_arch": " ".join(flags), **without, "without any": NONE}


def measure(case: dict[str, Any], options: Any) -> dict[tuple[str, str], list[float]]:
    """Returns the seconds of a call by side and pass, one for each round."""
    workers, facts = {}, {}
    with ExitStack() as stack:
        for name, flags in sides().items():
            rounds.console.print(f"  {name}: compiles and warms up", style="dim")
            workers[name] = rounds.our_worker("train_step_ours", XLA_FLAGS=flags)
            facts[name] = rounds.open_side(stack, name, workers[name], case)
        return train_step.time_passes(workers, facts, options.passes, options)


def rows_of(case: dict[str, Any], measured: dict) -> list[dict[str, Any]]:
    """Returns a row for each side but the first, and each pass."""
    rows = []
    for (name, work), seconds in measured.items():
        if name == "cnn_arch":
            continue
        # Of speeds, so that above 1 the flag makes the step faster.
        ours, other = ([1 / each for each in measured["cnn_arch", work]], seconds)
        ratio, spread = rounds.compare(ours, [1 / each for each in other])
        kept = {key: case[key] for key in ("network", "batch_size", "precision")}
        rows.append({**kept, "pass": work, "side": name, "ratio": ratio})
        rows[-1] |= {"ratio_spread": spread, "seconds": rounds.summarize(seconds, 4)}
    return rows


def main() -> None:
    """Measures every network, writes the results after each, and prints the table."""
    parser = rounds.make_parser(__doc__, "flags")
    add, words_of = parser.add_argument, train_step.words_of
    add(
        "--networks",
        type=partial(words_of, list(train_step.NETWORKS)),
        default=NETWORKS,
    )
    add("--precision", choices=train_step.PRECISIONS, default="float32")
    add("--passes", type=partial(words_of, train_step.PASSES), default=("train",))
    add("--seconds", type=float, default=1.0, help="at least, of a side in a round")
    options, words = rounds.parse_with_settings(parser)
    path = rounds.result_path("flags", options.output)
    results = rounds.header("flags of XLA", options.rounds)
    results |= {"settings": words, "flags": sides(), "rows": []}
    for network in options.networks:
        batch = train_step.NETWORKS[network][2][0]
        case = train_step.case_of(network, batch, options.precision, 256, words)
        rounds.console.print(f"{network}, batch {batch}", style="bold")
        results["rows"] += rows_of(case, measure(case, options))
        rounds.write(path, results)
    cells = [
        [
            f"{row['network']} {row['batch_size']} {row['pass']}",
            row["side"],
            rounds.shown_ratio(row["ratio"], row["ratio_spread"]),
        ]
        for row in results["rows"]
    ]
    rounds.print_table(["network", "flags", "all are faster by"], cells, path)


if __name__ == "__main__":
    main()
