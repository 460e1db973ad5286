"""Trains a network with its recipe, tests it once, and says where everything lies.

The story, in order: the config; the devices, the data and the network; the state, fresh
or from a checkpoint; the epochs; the test of the best checkpoint; the report.
"""

import argparse
import os
from pathlib import Path

from cnn_arch import cli, installation, run_directory, settings
from cnn_arch.parallel import launcher, processes
from cnn_arch.screen import Screen
from cnn_arch.training import stopping

EXAMPLES = """\
  python train.py --config=configs/lenet5.py
  python train.py --config=configs/resnet20.py:fashion_mnist --config.epochs=5
  python train.py --config=configs/resnet34.py:folder --config.data.dir=photos

The part after the colon picks the data: mnist5k, fashion_mnist, cifar10, imagenet2012
or folder. Any setting of configs/base.py can be given as --config.KEY=VALUE. A recipe
is Python code: run only those that you trust."""


def main(options: argparse.Namespace, words: list[str]) -> int:
    """Runs the command; returns its exit status."""
    options.process = process = launcher.find(options, os.environ)
    screen = Screen(quiet=options.quiet, muted=not process.writes)
    config, changed = settings.parse(words)
    workdir = run_directory.choose(options.workdir, config)
    run_directory.check_same_run(workdir, config)
    screen.say("run", f"{workdir}   (stop: Ctrl-C, continues later)")
    if warning := stopping.prepare(options.workdir):
        screen.warn(warning)

    # What takes seconds to import comes after the first line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    from cnn_arch import finish, session
    from cnn_arch.checkpoints.checkpoint import Checkpoints
    from cnn_arch.data.loading import TrainBatches
    from cnn_arch.evaluation.network import Trained
    from cnn_arch.evaluation.one_crop import make_eval_step
    from cnn_arch.models import INIT_OPTIONS
    from cnn_arch.ops.loops import rolled, unrolled
    from cnn_arch.parallel.mesh import describe
    from cnn_arch.training import loop, optimizer, profile, step

    mesh = session.open_devices(config, screen, process)
    workdir = Path(processes.from_first(str(workdir)))
    dataset = session.open_data(config, screen)
    model = session.open_network(config, len(dataset.class_names), screen)
    skipped = set(dataset.skipped)
    share, num_shares = processes.batch_share(mesh)
    batches = TrainBatches(
        dataset.splits["train"],
        config.data,
        seed=config.seed,
        batch_size=config.batch_size,
        process_index=share,
        process_count=num_shares,
        skipped=skipped,
    )
    schedule = optimizer.make_schedule(config, batches.steps_per_epoch)
    sgd = optimizer.make_optimizer(config, schedule)
    screen.say("recipe", run_directory.describe_recipe(config))

    def fresh_state():
        return step.init_state(config, model, sgd)

    shapes = session.abstract(jax.eval_shape(fresh_state), model, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    initialise = jax.jit(
        fresh_state, out_shardings=shardings, compiler_options=INIT_OPTIONS
    )
    batch_shapes = session.abstract_batch(config, mesh)
    variables = (shapes.params, shapes.batch_stats)
    with screen.timed("compile", "training step"):
        train_step = session.compile_step(
            step.make_train_step(config, model, sgd, schedule, mesh),
            (shapes, batch_shapes),
            config,
            mesh,
        )
        eval_step = make_eval_step(config, model, mesh)
        eval_step = eval_step.lower(*variables, batch_shapes).compile()
    if options.profile:
        processes.check_alone(f"--profile={options.profile}")
        where = batches, mesh, screen
        profile.profile(options.profile, train_step, initialise(), *where)
        cli.say_next(screen, installation.command("train", *words))
        return 0

    # Nothing is written before all of the above has been found to fit together.
    processes.check_same("the data", dataset.fingerprint)
    if process.writes:
        run_directory.check_same_data(workdir, dataset.fingerprint)
        run_directory.create(workdir, config, dataset.class_names, dataset.split_rows)
    options.crash_folder = workdir
    screen.log_to(workdir / "log.txt")
    if process.writes:
        session.show_batch(workdir, batches, dataset.class_names, config, screen)

    checkpoints = Checkpoints(workdir / "checkpoints", warn=screen.warn)
    saved = checkpoints.restore(unrolled(shapes))
    if saved is None:
        state = initialise()
    else:
        state = rolled(saved, shapes)
        epoch = int(state.step) / batches.steps_per_epoch
        at = checkpoints.saved_at(int(state.step))
        screen.say(
            "resume", f"epoch {epoch:.4g} of {config.epochs:g} (checkpoint of {at})"
        )

    job = loop.Job(
        config=config,
        workdir=workdir,
        screen=screen,
        mesh=mesh,
        batches=batches,
        validation=dataset.splits["validation"],
        num_classes=len(dataset.class_names),
        train_step=train_step,
        eval_step=eval_step,
        checkpoints=checkpoints,
        skipped=skipped,
    )
    again = run_directory.resume_command(workdir)
    try:
        if int(state.step) < job.num_steps:
            loop.fit(job, state)
        else:
            screen.say("done", "this run was finished before")
    except stopping.StoppedError as stopped:
        reached = f"{stopped.step / batches.steps_per_epoch:.4g}"
        requeued = process.writes and stopped.by_scheduler and stopping.requeue()
        goes_on = "Slurm will start it again" if requeued else f"Continue: {again}"
        screen.row(f"stopped at epoch {reached}, saved. {goes_on}", last=True)
        return stopped.exit_status

    skipped = set().union(*processes.gather(sorted(skipped)))
    finish.tell_skipped(skipped, screen)
    # Whole on every device, so that any process can write them down.
    whole = session.abstract(unrolled(variables), None, mesh)
    params, batch_stats, best_step = checkpoints.restore_variables(*whole)
    if process.writes:
        finish.keep_best(workdir, params, batch_stats, screen)
    is_tested = processes.from_first(finish.is_tested(workdir, best_step))
    if "test" in dataset.splits and not is_tested:
        origin = {"checkpoint_step": best_step}
        names = list(dataset.class_names)
        params, batch_stats = jax.device_put(
            rolled((params, batch_stats), variables),
            (shardings.params, shardings.batch_stats),
        )
        best = Trained(model, params, batch_stats, names, origin)
        where = dataset, config, mesh, workdir, screen
        finish.evaluate_split("test", best, eval_step, *where)
    facts = {
        "command": again,
        "device": describe(mesh),
        "data": session.describe_data(dataset),
        "model": session.describe_network(config, len(dataset.class_names)),
        "overrides": [f"--config.{key}={value}" for key, value in changed.items()],
    }
    if process.writes:
        finish.write_pages(workdir, facts, screen)
    words = [f"--workdir={workdir}"]
    other = installation.command("eval", *words, "--split=validation")
    own = installation.command("eval", *words, "--images=my_picture.jpg")
    cli.say_next(screen, other, own)
    return 0


if __name__ == "__main__":
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--workdir", help="the run directory; default runs/MODEL-DATA-N"
    )
    parser.add_argument(
        "--profile", help="a folder: trace a few steps, name what is costly, and end"
    )
    launcher.add_options(parser)
    cli.run(main, parser)
