"""What is checked before it reaches Slurm; tests/cluster has Slurm itself."""

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from cnn_arch.errors import UsageError
from cnn_arch.sweeps import manifest, slurm


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
def test_times_as_slurm_writes_them(text, minutes):
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


def test_the_time_limit_is_the_partitions_unless_given(tmp_path):
    """Left to itself, submitit sets five minutes."""
    for resources, expected in (({}, None), ({"time": "2:00:00"}, 120)):
        made = slurm.parameters(resources)
        script = _make_sbatch_string(command="true", folder=tmp_path, **made)
        limits = [line for line in script.splitlines() if "--time" in line]
        assert limits == ([f"#SBATCH --time={expected}"] if expected else [])


def test_a_process_for_each_gpu():
    made = slurm.parameters({"gpus_per_node": 4, "nodes": 2, "time": "2:00:00"})
    assert made["ntasks_per_node"] == 4
    assert made["gpus_per_node"] == 4
    assert made["nodes"] == 2
    assert made["time"] == 120


def fake_programs(folder):
    for name in ("sbatch", "squeue", "scancel"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = manifest.open_or_make(tmp_path, ["--config=x.py"], [{"seed": 0}], {}, 1)
    with pytest.raises(UsageError, match="--executor=slurm: sbatch is not found; "):
        slurm.Slurm(sweep)


@pytest.mark.parametrize("name", ["two\nlines", "%j", "a b", "'quoted'", "ä"])
def test_paths_that_are_refused(name, tmp_path, monkeypatch):
    fake_programs(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["--config=x.py"]
    sweep = manifest.open_or_make(tmp_path / name, words, [{"seed": 0}], {}, 1)
    with pytest.raises(UsageError, match="a path given to Slurm") as caught:
        slurm.Slurm(sweep)
    assert "\n" not in str(caught.value)


def test_a_record_that_was_changed_is_refused(tmp_path, monkeypatch):
    fake_programs(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = manifest.open_or_make(
        tmp_path / "a", ["--config=x.py"], [{"seed": 0}], {}, 1
    )
    slurm.Slurm(sweep)
    sweep.name = "sweep\n#SBATCH --uid=0"
    with pytest.raises(UsageError, match="a name given to Slurm"):
        slurm.Slurm(sweep)
