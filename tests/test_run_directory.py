"""The run directory: which run may use it, and its tables."""

import json
from contextlib import ExitStack

import pytest

from cnn_arch import folders, run_directory, same_run, settings
from cnn_arch.errors import DivergedError, UsageError
from cnn_arch.screen import Screen


def make_config(*words, recipe="lenet5"):
    return settings.parse([f"--config=configs/{recipe}.py", *words])[0]


def test_the_next_free_directory(tmp_path, monkeypatch):
    for number in (9, 10):
        (tmp_path / "runs" / f"lenet5-mnist5k-{number}").mkdir(parents=True)
    lenet = make_config()
    monkeypatch.chdir(tmp_path)
    assert str(folders.choose(None, lenet)) == "runs/lenet5-mnist5k-11"
    assert str(folders.choose("runs/mine", lenet)) == "runs/mine"


def test_another_run_is_refused(tmp_path):
    run_directory.create(tmp_path, make_config(), ["0", "1"], [])
    same_run.check_same_run(tmp_path, make_config("--config.mesh.data=4"))
    with pytest.raises(UsageError, match=r"name=lenet5, this one has resnet20; choose"):
        same_run.check_same_run(tmp_path, make_config(recipe="resnet20"))
    with pytest.raises(UsageError, match=r"with seed=0, this one has 1; choose"):
        same_run.check_same_run(tmp_path, make_config("--config.seed=1"))


def test_a_run_keeps_the_choices_of_an_earlier_version(tmp_path, capsys):
    words = "--config=configs/resnet18.py:folder", "--config.data.image_size=64"
    config, given = settings.parse(words)
    old = {"data.eval_resize": 256, "data.scale_min": 256, "data.scale_max": 480}
    run_directory.create(tmp_path, settings.derive(config, old), ["0", "1"], [])
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["data"]["pixels"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)

    def keep(config, given):
        return same_run.match_run(tmp_path, config, given, Screen())

    kept = keep(config, given)
    assert kept.data.eval_resize == 256
    assert kept.data.pixels == "stored"
    assert "with data.scale_min=256, data.scale_max=480, " in capsys.readouterr().out
    assert settings.remarks(words, kept)[0] == {}  # they are not in proportion
    assert settings.remarks(words, config)[0] == {
        "data.scale_min": 73,
        "data.scale_max": 137,
        "data.eval_resize": 73,
    }
    assert keep(kept, given) == kept
    assert not capsys.readouterr().out
    for word in ("--config.data.eval_resize=73", "--config.data.pixels=shown"):
        with pytest.raises(UsageError, match=word[len("--config.") :].split("=")[0]):
            keep(*settings.parse([*words, word]))


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="has files that are not of a run"):
        same_run.check_same_run(tmp_path, make_config())
    same_run.check_same_run(tmp_path / "new", make_config())


def test_changed_data_is_refused(tmp_path):
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    same_run.check_same_data(tmp_path, "one")
    same_run.check_same_data(tmp_path, "one")
    with pytest.raises(UsageError, match="the data has changed since this run began"):
        same_run.check_same_data(tmp_path, "other")


def test_validation_errors_by_step(tmp_path):
    assert run_directory.validation_errors(tmp_path) is None
    rows = ["epoch,step,validation_top1_error", "1,13,50.0", "2,26,2.5"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert run_directory.validation_errors(tmp_path) == {13: 50.0, 26: 2.5}
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n3")
    assert run_directory.validation_errors(tmp_path) is None


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\x1b[31m", "\udcff"])
def test_any_name_of_a_class_can_be_read_again(tmp_path, end):
    names = "cat", f'a "b"\\{end}c', "衣服"
    run_directory.create(tmp_path, make_config(), names, [])
    assert run_directory.read_classes(tmp_path) == names


def test_the_classes_of_an_older_version(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\x85\n", encoding="utf-8")
    assert run_directory.read_classes(tmp_path) == ("cat", "dog\x85")


@pytest.mark.parametrize("text", ["", '["cat"', '{"cat": 0}', "[1]", "[" * 10**5])
def test_damaged_classes_are_refused(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(UsageError, match=rf"^{tmp_path}/classes.json: .*put it back"):
        run_directory.read_classes(tmp_path)


def test_a_run_keeps_the_schedule_with_which_it_began(tmp_path):
    """Earlier versions left the milestones where they were when the epochs changed."""
    words = ["--config=tests/training/by_epochs.py:folder", "--config.epochs=6"]
    before = [*words, "--config.optim.milestones=(91.0,137.0)"]
    (tmp_path / "config.json").write_text(settings.to_json(settings.parse(before)[0]))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    config, given = settings.parse(words)
    assert config.optim.milestones == (3.0, 4.5165)
    kept = same_run.match_run(tmp_path, config, given, Screen())
    assert kept.optim.milestones == (91.0, 137.0)
    config, given = settings.parse([*words, "--config.optim.milestones=(3,)"])
    with pytest.raises(UsageError, match="has a run with optim"):
        same_run.match_run(tmp_path, config, given, Screen())


def test_a_run_without_a_checkpoint_or_result_starts_again_with_any_settings(tmp_path):
    """So does a run that diverged in its first epoch."""
    run_directory.create(tmp_path, make_config(), ["0", "1"], [])
    same_run.check_same_data(tmp_path, "before")
    words = ["--config=lenet5", "--config.optim.learning_rate=0.001"]
    config, given = settings.parse(words)
    assert same_run.match_run(tmp_path, config, given, Screen()) == config
    same_run.check_same_data(tmp_path, "after")
    for name in ("checkpoints/5", "checkpoints/5-replaced", "eval"):
        (tmp_path / name).mkdir(parents=True)
        with pytest.raises(UsageError, match=r"has a run with optim\.learning_rate="):
            same_run.match_run(tmp_path, config, given, Screen())
        with pytest.raises(UsageError, match="the data has changed"):
            same_run.check_same_data(tmp_path, "later")
        (tmp_path / name).rmdir()


def test_a_divergence_is_noted_until_the_next_start(tmp_path):
    with ExitStack() as cleanup:
        config, screen = make_config(), Screen(quiet=True)
        run = run_directory.open_run(str(tmp_path / "run"), config, screen, cleanup)
        with pytest.raises(DivergedError), run.noting_divergence(54):
            raise DivergedError("loss is nan at step 3: must be finite")
        assert run_directory.read_divergence(run.workdir) == {
            "reason": "loss is nan at step 3: must be finite",
            "steps_per_epoch": 54,
        }
        with run.noting_divergence(54):
            assert run_directory.read_divergence(run.workdir) is None
