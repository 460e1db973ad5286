"""Energy is what the machine's counters say, or unavailable."""

import time

import pytest

from cnn_arch.analysis import energy


def make_zone(folder, name, count, limit=1_000_000_000):
    zone = folder / f"intel-rapl:{len(list(folder.iterdir()))}"
    zone.mkdir()
    (zone / "name").write_text(f"{name}\n")
    (zone / "energy_uj").write_text(f"{count}\n")
    (zone / "max_energy_range_uj").write_text(f"{limit}\n")
    return zone


def test_the_packages_energy_is_added(tmp_path):
    first = make_zone(tmp_path, "package-0", 5_000_000)
    second = make_zone(tmp_path, "package-1", 999_000_000)
    memory = make_zone(tmp_path, "psys", 0)
    with energy.metered("cpu", tmp_path) as used:
        (first / "energy_uj").write_text("7500000\n")
        (second / "energy_uj").write_text("500000\n")  # it began again from 0
        (memory / "energy_uj").write_text("90000000\n")
        time.sleep(0.01)
    assert used.joules == pytest.approx(2.5 + 1.5)
    assert used.seconds >= 0.01


def test_a_machine_without_counters_says_nothing(tmp_path):
    with energy.metered("cpu", tmp_path) as used:
        pass
    assert used.joules is None
    with energy.metered("tpu", tmp_path) as used:
        pass
    assert used.joules is None


def test_a_gpus_energy_is_its_mean_power_by_the_time(tmp_path, monkeypatch):
    """A program in place of nvidia-smi prints 50 W and 70 W in turn."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\nwhile true; do echo 50.0; echo 70.00; sleep 0.02; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with energy.metered("gpu") as used:
        time.sleep(0.3)
    assert used.joules == pytest.approx(60 * used.seconds, rel=0.05)
