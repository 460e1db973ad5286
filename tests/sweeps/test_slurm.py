"""The checks before anything reaches Slurm; tests/cluster tests a real Slurm."""

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import manifest, slurm
from tests.commands import call, error_line


# sbatch(1), --time.
@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("0-00:00:01", 1),
    ],
)
def test_times_in_slurms_notation(text, minutes):
    assert slurm.minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "soon", "1h", "1:2:3", "-5", "5\n6"])
def test_times_that_are_refused(text):
    with pytest.raises(UsageError, match="--time="):
        slurm.minutes(text)


@pytest.mark.parametrize(
    ("resources", "option"),
    [
        ({"partition": "gpu\n#SBATCH --uid=0"}, "--partition"),
        ({"partition": "gpu\n"}, "--partition"),
        ({"partition": "-p"}, "--partition"),
        ({"partition": "a" * 65}, "--partition"),
        ({"nodes": 0}, "--nodes=0"),
        ({"gpus_per_node": -1}, "--gpus_per_node=-1"),
    ],
)
def test_resources_that_are_refused(resources, option):
    with pytest.raises(UsageError, match=option):
        slurm.parameters(resources)


def test_the_default_time_limit_is_the_partitions(tmp_path):
    """The default of submitit would be five minutes."""
    for resources, expected in (({}, None), ({"time": "2:00:00"}, 120)):
        made = slurm.parameters(resources)
        script = _make_sbatch_string(command="true", folder=tmp_path, **made)
        limits = [line for line in script.splitlines() if "--time" in line]
        assert limits == ([f"#SBATCH --time={expected}"] if expected else [])


def test_a_process_for_each_gpu():
    given = {"gpus_per_node": 4, "nodes": 2}
    made = slurm.parameters(given | {"time": "2:00:00"})
    srun = ["--kill-on-bad-exit=1"]
    assert made == given | {"ntasks_per_node": 4, "time": 120, "srun_args": srun}


def make(workdir):
    return manifest.open_or_make(workdir, ["--config=x.py"], [{"seed": 0}], {}, 1)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Installs empty programs in place of Slurm's."""
    for name in ("sbatch", "squeue", "scancel"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--executor=slurm: sbatch is not found; "):
        slurm.Slurm(make(tmp_path))


@pytest.mark.parametrize("name", ["two\nlines", "%j", "a b", "'quoted'", "ä"])
def test_paths_that_are_refused(name, tmp_path, programs):
    with pytest.raises(UsageError, match="a path given to Slurm") as caught:
        slurm.Slurm(make(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "config", "name"),
    [
        ("rates", "configs/lenet5.py:mnist5k", "rates-lenet5"),
        ("sweep-lenet5-mnist5k-1", "lenet5", "sweep-lenet5-mnist5k-1"),
        ("_.my rätes", "own/N[1].py", "my-r-tes-N-1-"),
        ("ä", "ö.py", "sweep"),
        ("a" * 90, "lenet5", "a" * 50),
    ],
)
def test_jobs_are_named_by_their_sweep_and_recipe(tmp_path, folder, config, name):
    words = [f"--config={config}", "--config.epochs=1"]
    made = [
        manifest.open_or_make(tmp_path / folder, words, [{"seed": 0}], {}, 1).name
        for _ in range(2)
    ]
    assert made[0] != made[1]
    for each in made:
        assert each[:-9] == name
        assert slurm.NAME.fullmatch(f"{each}.99")


def test_jobs_of_others_may_have_any_name(tmp_path, programs):
    sweep = make(tmp_path / "a")
    sweep.trials[0].submission = f"{sweep.name}.0/3"
    lines = "3|17|RUNNING|a|b\n3|17\nc|d||\n\n" + f"3|18|PENDING|{sweep.name}.0\n"
    (tmp_path / "squeue").write_text(f"#!/bin/sh\ncat <<'END'\n{lines}END\n")
    (tmp_path / "cat").symlink_to("/bin/cat")
    assert slurm.Slurm(sweep).active() == {"trial-00": "queued"}
    assert sweep.trials[0].job == "18_3"


def test_a_record_that_was_changed_is_refused(tmp_path, programs):
    sweep = make(tmp_path / "a")
    slurm.Slurm(sweep)
    sweep.name = "sweep\n#SBATCH --uid=0"
    with pytest.raises(UsageError, match="a name given to Slurm"):
        slurm.Slurm(sweep)


def test_a_cluster_that_does_not_answer_leaves_no_folder(programs, tmp_path):
    reason = "slurm_load_jobs error: Unable to contact slurm controller"
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '{reason}' >&2\nexit 1\n")
    workdir = tmp_path / "new" / "sweep"
    words = "--config=lenet5", "--sweep=lr_wd", "--executor=slurm"
    result = call("sweep.py", *words, f"--workdir={workdir}")
    assert (
        error_line(result, 1) == f"error: squeue: {reason}; try again later, or give "
        "--executor=local"
    )
    assert not workdir.parent.exists()
