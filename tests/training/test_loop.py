"""The epochs of a run with a script of validation errors, across kills, in process."""

import jax
import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import loop, schedules
from cnn_arch.training.program import Program

pytestmark = pytest.mark.slow

# The third and fourth are not lower than the second, so the rate falls after the
# fourth; the eighth is the third one that is not lower than the fifth: the run ends.
ERRORS = [50.0, 40.0, 45.0, 40.0, 39.0, 39.0, 41.0, 39.5, 10.0, 10.0]
FALLS = [0, 0, 0, 1, 1, 1, 2, 2]  # so far, after each epoch
NUM_EPOCHS = 8


@pytest.fixture(scope="module")
def program():
    config, _ = settings.parse(
        [
            "--config=lenet5:mnist5k",
            "--config.batch_size=8",
            "--config.epochs=10",
            "--config.early_stopping=3",
            "--config.optim.schedule=plateau",
            "--config.optim.patience=2",
            "--config.optim.learning_rate=0.01",
        ]
    )
    program = Program(config, 10, make_mesh(2, 1), steps_per_epoch=2)
    program.compile()
    return program


class KilledError(Exception):
    pass


def train(program, workdir, killed_in=None):
    """Continues a run on two devices; it may be killed in the validation of an epoch.

    Returns:
      What the screen showed last, and the number of epochs.
    """
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (16, 28, 28, 1)).astype(np.uint8)
    labels = np.arange(16, dtype=np.int32) % 10
    source = ArraySource(images, labels, list(map(str, labels)))
    config = program.config
    batches = TrainBatches(source, config.data, seed=0, batch_size=config.batch_size)
    run = Run(workdir, Screen(quiet=True))
    saved = open_checkpoints(run).last_step() or 0
    epochs = iter(range(saved // 2 + 1, 100))

    def validate(variables):
        epoch = next(epochs)
        if epoch == killed_in:
            raise KilledError
        error = ERRORS[epoch - 1]
        return {"loss": 1.0, "top1_error": error, "top5_error": error}

    trainer = loop.Trainer(program, batches, validate, run)
    try:
        trainer.fit()
    finally:
        trainer.checkpoints.close()


def last_state(program, workdir):
    checkpoints = open_checkpoints(Run(workdir, Screen(quiet=True)))
    return jax.device_get(program.restore(checkpoints))


@pytest.fixture(scope="module")
def whole(program, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    train(program, workdir)
    return workdir, last_state(program, workdir)


def test_the_plateau_rule_and_the_early_end_follow_the_errors(program, whole):
    workdir, state = whole
    lines = (workdir / "metrics.csv").read_text().splitlines()
    names, *rows = [line.split(",") for line in lines]
    rates = [float(row[names.index("learning_rate")]) for row in rows]
    # An epoch's rate is that of its last step, before its error is known.
    expected = [0.01 * 0.1**falls for falls in [0, *FALLS[:-1]]]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert state.step == 2 * NUM_EPOCHS
    rate_state = schedules.find_rate_state(state.opt_state)
    assert rate_state
    np.testing.assert_allclose(rate_state.plateau.scale, 0.01, rtol=1e-5)
    run = Run(workdir, Screen(quiet=True))
    assert loop.is_finished(run, program.config, 2)
    train(program, workdir)  # it has ended: no more epochs
    assert len((workdir / "metrics.csv").read_text().splitlines()) == len(lines)
    longer = settings.derive(program.config, {"early_stopping": 4})
    assert not loop.is_finished(run, longer, 2)


@pytest.mark.parametrize("killed_in", [[3], [5, 8]])
def test_a_killed_run_ends_with_the_same_checkpoint(
    program, whole, killed_in, tmp_path
):
    for epoch in killed_in:
        with pytest.raises(KilledError):
            train(program, tmp_path, epoch)
    train(program, tmp_path)
    one, other = whole[1], last_state(program, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, one, other)
