"""Evaluates a run's checkpoint on a whole split, or on pictures of your own.

The story, in order: the stored config; the devices; the network and its checkpoint;
then either each example of the split exactly once, or the pictures.
"""

import argparse
import json
import os
from pathlib import Path

from cnn_arch import cli, run_directory, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen

EXAMPLES = """\
  python eval.py --workdir=runs/lenet5-mnist5k-1
  python eval.py --workdir=runs/lenet5-mnist5k-1 --checkpoint=last --split=validation
  python eval.py --workdir=runs/lenet5-mnist5k-1 --images=digits/ --json"""


def main(options: argparse.Namespace, words: list[str]) -> int:
    """Runs the command; returns its exit status."""
    screen = Screen(quiet=options.quiet, json=options.json)
    if words:
        raise UsageError(f"{words[0]}: no such option; see --help")
    workdir = Path(options.workdir)
    if not (workdir / "config.json").is_file():
        raise UsageError(f"--workdir={workdir}: no run there; train.py makes one")
    config = settings.from_json(workdir / "config.json")
    screen.say("run", f"{workdir}, checkpoint {options.checkpoint}")

    # What takes seconds to import comes after the first line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    from cnn_arch import finish, session
    from cnn_arch.evaluation.one_crop import make_eval_step
    from cnn_arch.evaluation.pictures import classify
    from cnn_arch.models import init_variables
    from cnn_arch.training.checkpoint import Checkpoints

    with config.unlocked():
        config.mesh.data = 0  # any mesh evaluates what any other trained
        config.data.dir = options.data_dir or config.data.dir
    mesh = session.open_devices(config, screen, fit_batch=True)
    class_names = (workdir / "classes.txt").read_text(encoding="utf-8").splitlines()
    model = session.open_network(config, len(class_names), screen)
    shapes = jax.eval_shape(
        lambda key: init_variables(
            model, key, config.data.image_size, config.data.channels
        ),
        jax.random.key(0),
    )
    shapes = session.abstract(shapes, mesh)
    checkpoints = Checkpoints(workdir / "checkpoints", warn=screen.warn)
    params, batch_stats, step = checkpoints.restore_variables(
        shapes["params"], shapes["batch_stats"], options.checkpoint
    )
    screen.say("restored", f"step {step}")

    if options.images:
        variables = {"params": params, "batch_stats": batch_stats}
        picture = workdir / "plots" / "predictions.png"
        answer = classify(
            options.images, model, variables, class_names, config, picture, screen
        )
        screen.say("wrote", str(picture))
        cli.say_next(screen, run_directory.eval_command(workdir))
    else:
        dataset = session.open_data(config, screen)
        if list(dataset.class_names) != class_names:
            raise UsageError(
                f"--workdir={workdir}: the data's classes are not those of the run; "
                "give the run's data with --data_dir"
            )
        if options.split not in dataset.splits:
            raise UsageError(
                f"--split={options.split}: {dataset.name} has no such split; it has "
                f"{', '.join(dataset.splits)}"
            )
        eval_step = make_eval_step(config, model, mesh)
        variables = params, batch_stats
        where = dataset, config, mesh, workdir, screen
        answer = {
            options.split: finish.evaluate_split(
                options.split, step, eval_step, variables, *where
            )
        }
        screen.say(
            "wrote", f"{workdir}/eval/results.json  predictions_{options.split}.csv"
        )
        cli.say_next(
            screen, run_directory.eval_command(workdir, "--images=my_picture.jpg")
        )
    if options.json:
        print(json.dumps(answer, indent=2))
    return 0


if __name__ == "__main__":
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--workdir", required=True, help="the directory of a run")
    parser.add_argument(
        "--checkpoint", default="best", help="best, last or a step; default best"
    )
    parser.add_argument(
        "--split", default="test", help="train, validation or test; default test"
    )
    parser.add_argument("--images", help="a picture, or a folder of pictures")
    parser.add_argument("--data_dir", help="where the data lies, if it has moved")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    cli.run(main, parser)
