"""The page of all experiments, and the published one: its verdicts are the records'."""

import json
import math
import re
from statistics import fmean

import pytest
from scipy import stats

from cnn_arch import installation
from cnn_arch.experiments import page, plan, record, rules, show
from cnn_arch.experiments.rules import Bound
from cnn_arch.installation import ROOT
from cnn_arch.screen import Screen

PAGE = ROOT / "docs" / "lectures.md"
RECORDS = sorted((ROOT / "docs" / "lectures").glob("*.json"))
COUNTS = "Two are right.", "| claim |"
OVERLAP, APART = plan.read("overlapping").variants


def write_runs(runs, size, errors, device="cpu, 1 core, 24 GiB"):
    """Writes a record of ``overlapping``: test errors by variant, a minute for each."""
    folder = runs / f"overlapping-{size}"
    folder.mkdir(parents=True)
    made = record.new(plan.read("overlapping"), size, [f"--size={size}"])
    for variant, numbers in errors.items():
        for seed, error in enumerate(numbers):
            made["runs"][f"{variant}-{seed}"] = {
                "variant": variant,
                "seed": seed,
                "numbers": {
                    "test_error": error,
                    "training_error": 9.0,
                    "gap": error,
                },
                "series": {},
                "curve": [[1, 60, 55], [2, 40, 45]],
                "diverged": "",
                "minutes": 1.0,
                "device": device,
                "data": "ten",
                "commit": "0123abc",
            }
    record.save(made, folder)
    return made


def test_a_page_says_that_runs_are_missing(tmp_path):
    experiment = plan.read("overlapping")
    seeds = experiment.sizes["full"].seeds
    errors = {OVERLAP: [30.0] * seeds, APART: [40.0] * (seeds - 1)}
    found = write_runs(tmp_path, "full", errors)
    text = page.section(experiment, found, "x.png", level="#")
    assert f"\n**Unfinished.** {2 * seeds - 1} of {2 * seeds} runs are done; " in text
    assert f"(95 % intervals over at most {seeds} seeds)" in text
    whole = write_runs(tmp_path / "whole", "full", errors | {APART: [40.0] * seeds})
    text = page.section(experiment, whole, "x.png", level="#")
    assert "Unfinished" not in text and f"intervals over {seeds} seeds)" in text


def test_the_report_keeps_both_sizes_and_shows_the_full_one(tmp_path):
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    write_runs(runs, "minutes", {OVERLAP: [30.0], APART: [40.0]})
    path, count = page.write_report(runs, docs, COUNTS)
    heading = "\n## overlapping: not decided at this size\n"
    assert count == 1 and heading in path.read_text()
    end = " | not decided at this size | minutes, unfinished |\n"  # has one seed of two
    assert end in path.read_text()

    errors = {OVERLAP: [30.0, 30.1], APART: [40.0, 40.1]}
    full = write_runs(runs, "full", errors)
    _, count = page.write_report(runs, docs, COUNTS)
    heading = "\n## overlapping: holds\n"
    assert count == 1 and heading in path.read_text()
    text = path.read_text()
    assert "\n| [overlapping](#overlapping-holds) | Pools that overlap (3x3" in text
    assert ", and over-fit a little less | holds | full, unfinished |\n" in text
    names = {file.name for file in (docs / "lectures").iterdir()}
    assert names == {
        "overlapping-minutes.json",
        "overlapping-full.json",
        "overlapping.png",
    }
    stored = docs / "lectures" / "overlapping-full.json"
    assert record.read(stored) == full

    # Without the runs, what is published stays.
    picture = (docs / "lectures" / "overlapping.png").read_bytes()
    _, count = page.write_report(tmp_path / "none", docs, COUNTS)
    assert count == 1 and heading in path.read_text()
    assert (docs / "lectures" / "overlapping.png").read_bytes() == picture


def test_the_list_has_the_time_of_two_cores(tmp_path, capsys):
    errors = {OVERLAP: [30.0] * 3, APART: [40.0] * 3}
    write_runs(tmp_path, "minutes", errors)
    write_runs(tmp_path, "full", errors, "cpu, 2 cores, 24 GiB")
    show.list_all(tmp_path, Screen())
    (line,) = re.findall("^overlapping .*$", capsys.readouterr().out, re.MULTILINE)
    assert line.split()[:5] == ["overlapping", "3", "min", "6", "min"]
    on_gpu = write_runs(tmp_path / "gpu", "full", errors, "1 x NVIDIA H100")
    assert record.minutes_on_two_cores(on_gpu) is None


def test_an_experiment_that_is_neither_run_nor_published_is_not_run(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(record, "PUBLISHED", tmp_path)
    show.list_all(tmp_path, Screen())
    rows = re.findall(r"^(\w+) +not run$", capsys.readouterr().out, re.MULTILINE)
    assert rows == installation.experiments()


def outcome(comparison, numbers):
    """Computes an interval by SciPy; None where it is not a matter of two samples."""
    samples = [
        numbers.get(variant, {}).get(measure, [])
        for variant, measure in zip(
            (comparison.first, comparison.second), comparison.measures, strict=True
        )
    ]
    if any(isinstance(value, rules.Bound) for value in (*samples[0], *samples[1])):
        return None
    if min(map(len, samples)) < 2 or len({*samples[0]}) == len({*samples[1]}) == 1:
        return None
    if comparison.scale == "ratio":
        samples = [[math.log(value) for value in sample] for sample in samples]
    first, second = samples
    if comparison.is_paired:
        found = stats.ttest_rel(first, second).confidence_interval(0.95)
    else:
        test = stats.ttest_ind(first, second, equal_var=False)
        found = test.confidence_interval(0.95)
    ends = [fmean(first) - fmean(second), *found]
    return [math.exp(x) for x in ends] if comparison.scale == "ratio" else ends


def turned(numbers, comparison):
    """Returns the numbers with the two sides of a comparison exchanged."""
    (a, b), (c, d) = (comparison.first, comparison.second), comparison.measures
    new = {variant: dict(own) for variant, own in numbers.items()}
    new[a][c], new[b][d] = numbers[b][d], numbers[a][c]
    return new


def mirror(comparison, value):
    """Returns a difference or a ratio the other way round."""
    return 1 / value if comparison.scale == "ratio" else -value


def is_one_sided(comparison):
    """Whether no number is in the range together with its mirror."""
    equal, above, below = (
        comparison.scale == "ratio",
        comparison.above,
        comparison.below,
    )
    return (above is not None and above >= equal) or (
        below is not None and below <= equal
    )


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_published_verdicts_follow_from_their_numbers(path):
    found = record.read(path)
    experiment = plan.read(found["experiment"])
    assert path.stem == f"{experiment.name}-{found['size']}"
    numbers = record.numbers(found)
    verdict, outcomes = rules.decide(experiment.rule, numbers)
    for comparison, decided in zip(experiment.rule, outcomes, strict=True):
        if expected := outcome(comparison, numbers):
            ends = [decided.estimate, decided.low, decided.high]
            assert ends == pytest.approx(expected, rel=1e-6, abs=1e-9)
            again = rules.compare(comparison, turned(numbers, comparison))
            mirrored = [mirror(comparison, expected[i]) for i in (0, 2, 1)]
            ends = [again.estimate, again.low, again.high]
            assert ends == pytest.approx(mirrored, rel=1e-6, abs=1e-9)
            if is_one_sided(comparison) and decided.verdict == rules.HOLDS:
                assert again.verdict == rules.FAILS
    is_shown = (
        found["size"] == "full"
        or not path.with_stem(f"{experiment.name}-full").exists()
    )
    if is_shown:
        picture = f"lectures/{experiment.name}.png"
        assert set(found["variants"]) == set(numbers)
        section = page.section(experiment, found, picture, level="##")
        assert section in PAGE.read_text(encoding="utf-8")
        assert section.startswith(f"## {experiment.name}: {verdict}\n")
        size = found["size"] + ", unfinished" * ("\n\n**Unfinished.** " in section)
        row = rf"^\| \[{experiment.name}\].* \| {verdict} \| {size} \|$"
        assert re.search(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_published_record_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    shown = set(re.findall(r"^## (\w+): ", text, re.MULTILINE))
    assert shown == {json.loads(path.read_text())["experiment"] for path in RECORDS}


def test_an_outcome_is_one_line():
    rule = rules.Comparison("difference", "test_error", "a", "b", -1.0, 1.0)
    found = {"a": {"test_error": [10.0, 10.2]}, "b": {"test_error": [10.1, 10.1]}}
    line = page.describe(rule, rules.compare(rule, found))
    start = "test error: a - b is above -1 and below 1: not decided at this size"
    assert line.startswith(f"{start} (0, -1.271 to 1.271)")


def test_an_outcome_of_pairs_names_both_measures():
    limits = {"above": None, "below": 0.0, "second_measure": "training_error"}
    rule = rules.Comparison("difference", "test_error", "a", "a", **limits)
    found = {"a": {"test_error": [10.0], "training_error": [12.0]}}
    line = page.describe(rule, rules.compare(rule, found))
    start = "a: test error - training error, last epoch is below 0: not decided at this"
    assert line == f"{start} size (-2; no interval)"


def test_an_outcome_of_one_seed_has_no_interval():
    rule = rules.Comparison("ratio", "test_error", "a", "b", None, 1.0)
    found = {"a": {"test_error": [10.0]}, "b": {"test_error": [20.0]}}
    line = page.describe(rule, rules.compare(rule, found))
    assert line.endswith("is below 1: not decided at this size (0.5; no interval)")


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ([Bound(40.0), Bound(40.0)], [9.0, 11.0], "over 4.02, at least 1.12"),
        ([9.0, 11.0], [Bound(40.0), 39.0], "under 0.2519, at most "),
        ([9.0], [Bound(40.0)], "under 0.225; no interval"),
        ([Bound(40.0)], [9.0], "over 4.444; no interval"),
        ([Bound(40.0)], [Bound(50.0)], "neither has reached it"),
    ],
)
def test_a_goal_that_was_not_reached_gives_a_limit(first, second, shown):
    steps = "steps_to_training_error:25"
    rule = rules.Comparison("ratio", steps, "a", "b", 2.0, None)
    found = {"a": {steps: first}, "b": {steps: second}}
    assert f"({shown}" in page.describe(rule, rules.compare(rule, found))
