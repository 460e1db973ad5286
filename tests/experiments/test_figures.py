"""The lines and dots of the figures are the numbers of the record."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn_arch.experiments import figures, plan


def run(variant, errors, number):
    return {
        "variant": variant,
        "numbers": {"training_error": number, "test_error": 50.0},
        "series": {"layer_gradients:first_step": {"conv1": 1.0, "fc": number}},
        "curve": [[epoch, error, error + 5] for epoch, error in enumerate(errors, 1)],
    }


@pytest.fixture
def drawn():
    experiment = plan.read("degradation")
    series = {**vars(experiment), "series": ("layer_gradients:first_step",)}
    experiment = plan.Experiment(**series)
    runs = [run("plain20", [60, 40], 40.0), run("plain20", [62, 44], 44.0)]
    runs.append(run("plain56", [70, 60, 50], {"at_least": 50.0}))
    record = {
        "size": "full",
        "runs": {f"trial-{i:02}": each for i, each in enumerate(runs)},
    }

    def draw(name):
        figure = Figure()
        if name == "layers":  # a series has no bounds
            record["runs"].pop("trial-02")
        figures.FIGURES[name](figure, experiment, record)
        return figure

    return draw


def test_curves_are_means_over_seeds(drawn):
    training, validation = drawn("curves").axes
    plain20, plain56 = training.lines
    np.testing.assert_array_equal(plain20.get_ydata(), [61, 42])
    np.testing.assert_array_equal(plain56.get_ydata(), [70, 60, 50])
    np.testing.assert_array_equal(validation.lines[0].get_ydata(), [66, 47])


def test_runs_of_one_epoch_have_dots_in_place_of_curves():
    experiment, figure = plan.read("degradation"), Figure()
    runs = {
        "trial-00": run("plain20", [60], 40.0),
        "trial-01": run("plain56", [70], 50.0),
    }
    figures.curves(figure, experiment, {"size": "full", "runs": runs})
    training, test = figure.axes
    one, other = (line for line in training.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(one.get_xdata(), [40])
    np.testing.assert_array_equal(other.get_xdata(), [50])
    assert "test error" in test.get_xlabel()


def test_dots_are_runs_and_arrows_are_bounds(drawn):
    axes, _ = drawn("dots").axes
    shown = {
        marker: [
            x
            for line in axes.lines
            if line.get_marker() == marker
            for x in line.get_xdata()
        ]
        for marker in ("o", ">", "|")
    }
    assert shown == {"o": [40, 44], ">": [50], "|": [42, 50]}
    # Mean 42, standard error 2; t(0.975) with 1 degree of freedom is 12.706.
    wanted = [42 - 12.706 * 2, 42 + 12.706 * 2]
    assert axes.lines[0].get_xdata() == pytest.approx(wanted, abs=0.001)


def test_an_error_against_the_members_has_a_line_for_each_group():
    experiment, figure = plan.read("ensemble"), Figure()
    groups = {
        name: {
            "variant": "cuda_convnet",
            "numbers": {f"ensemble_error:{i}": start - i for i in (1, 3, 5, 7)},
        }
        for name, start in (("one", 20.0), ("other", 30.0))
    }
    figures.against(figure, experiment, {"size": "full", "runs": {}, "groups": groups})
    (axes,) = figure.axes
    one, other, mean = axes.lines
    for line in axes.lines:
        np.testing.assert_array_equal(line.get_xdata(), [1, 3, 5, 7])
    np.testing.assert_array_equal(one.get_ydata(), [19, 17, 15, 13])
    np.testing.assert_array_equal(other.get_ydata(), [29, 27, 25, 23])
    np.testing.assert_array_equal(mean.get_ydata(), [24, 22, 20, 18])
    assert axes.get_ylabel() == "test error, %"


def test_layers_are_in_the_networks_order(drawn):
    (axes,) = drawn("layers").axes
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 1])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 42])
    assert not any("$" in each.get_text() for each in axes.get_yticklabels())


def test_more_variants_than_colours_have_dashed_lines_too():
    experiment, figure = plan.read("vanishing"), Figure()
    series = {key: {"conv1": 1.0, "fc": 2.0} for key in experiment.series}
    runs = {
        variant: {"variant": variant, "series": series, "numbers": {}}
        for variant in experiment.variants
    }
    figures.layers(figure, experiment, {"size": "full", "runs": runs})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    kinds = {(line.get_color(), line.get_linestyle()) for line in lines.values()}
    assert len(kinds) == len(experiment.variants) == 12
    plain, without = lines["plain110"], lines["plain110 without BatchNorm"]
    assert plain.get_color() == without.get_color()
    assert (plain.get_linestyle(), without.get_linestyle()) == ("-", "--")


def test_a_figure_can_leave_variants_out(tmp_path):
    whole = plan.read("degradation")
    experiment = dataclasses.replace(whole, drawn=["resnet20", "plain20"])
    runs = {
        "trial-00": run("plain20", [60], 40.0),
        "trial-01": run("plain56", [70], 50.0),
    }
    group = {"variant": "plain56", "numbers": {}}
    found = {"size": "full", "runs": runs, "groups": {"a": group}}
    shown, kept = figures.only_drawn(experiment, found)
    assert [*shown.variants] == ["resnet20", "plain20"]
    of_plain20 = {"trial-00": runs["trial-00"]}
    assert kept == {"size": "full", "runs": of_plain20, "groups": {}}
    assert figures.only_drawn(whole, found) == (whole, found)
    figures.draw(whole, found, tmp_path / "all")
    figures.draw(experiment, found, tmp_path / "drawn")
    figures.draw(shown, kept, tmp_path / "there")
    pictures = {path.parent.name: path for path in tmp_path.glob("*/figure.png")}
    pixels = {name: path.read_bytes() for name, path in pictures.items()}
    assert pixels["drawn"] == pixels["there"] != pixels["all"]


def offset(disc):
    return tuple(np.asarray(disc.get_offsets())[0])


def test_discs_are_at_the_times_with_parameters_as_area():
    """AlexNet in 10 and 14 ms, ResNet-18 in 20; a quarter of the parameters."""
    experiment = plan.read("time_and_energy")
    time = experiment.measures[0]

    def measured(name, milliseconds, parameters, error):
        own = {"macs": 700.0, "parameters": parameters, "published_error": error}
        return {"variant": name, "numbers": {time: milliseconds, **own}}

    runs = [
        measured("alexnet", 10.0, 60e6, 42.9),
        measured("alexnet", 14.0, 60e6, 42.9),
        measured("resnet18", 20.0, 15e6, None),  # as if it were not published
    ]
    record = {"runs": {f"trial-{i:02}": each for i, each in enumerate(runs)}}
    figure = Figure()
    figures.FIGURES["times"](figure, experiment, record)
    left, right = figure.axes
    places = [*map(offset, left.collections)]
    assert places == [(700, 12), (700, 20)]
    discs: Any = left.collections
    large, small = (each.get_sizes()[0] for each in discs)
    assert large == pytest.approx(4 * small)
    assert [*map(offset, right.collections)] == [(12, 42.9)]
