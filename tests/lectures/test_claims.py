"""Verdicts are computed; a wrong claim has a reason, and each number its unit."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import pytest

from cnn_arch import installation
from cnn_arch.experiments import record as experiment_record
from cnn_arch.experiments.show import as_claims
from cnn_arch.lectures import counts
from cnn_arch.lectures.claim import Claim, agree, judge, with_units
from cnn_arch.lectures.published import QUOTED
from cnn_arch.lectures.show import CLAIMS, show_claims, verdicts
from cnn_arch.screen import Screen

# Results of hand calculations, independent of the numbers in the claims.
RIGHT = {
    "138 M parameters": (138.357544,),
    "naive inception on 28x28x256: depth 672, 854 M operations": (672, 854.196224),
    "1.9 MB of memory in all (here: of convolutions' outputs)": (492_096 * 4 / 2**20,),
    "22 layers with weights, no dense layers (here: none but the last)": (22, 1),
    "three 3x3 see 7 px, as one 7x7; 27 C^2 weights for 49 C^2; 3 ReLUs for 1": (
        (7, 7, 27, 49, 3, 1)
    ),
}
WRONG = {
    "96 MB an image for the forward pass": (60.950432,),
    "with 1x1 bottlenecks of 64: depth 480, 358 M operations": (480, 271.351808),
    "conv4: 145 M multiply-adds": (149.520384,),
    "224 to 28 px: 7.5 MB, 124 K weights, 418 M multiply-adds": (
        (7.46484375, 124.096, 477.67552)
    ),
    "224 to 28 px: 42.9 MB, 1.1 M weights, 7,485 M multiply-adds": (
        (45.9375, 1.734336, 9335.144448)
    ),
    "weight decay 1e-5": (1e-4,),
    "5 M parameters, 12 times fewer than AlexNet": (6.998552, 60.965224 / 6.998552),
}


@pytest.mark.slow
def test_each_network_is_traced_once_and_little_is_compiled():
    """Else the command takes a quarter of a minute of processor time."""
    compilations = []

    def note(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    list(verdicts())
    jax.monitoring.unregister_event_duration_listener(note)
    assert len(compilations) <= 5  # the residual block, and random keys
    found = counts.network.cache_info()
    assert found.misses == found.currsize <= 18


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_a_claim_and_its_verdict(claim):
    counted, verdict = judge(claim)
    if claim.text in RIGHT | WRONG:
        assert counted == pytest.approx((RIGHT | WRONG)[claim.text], rel=1e-9)
        assert (verdict == "right") == (claim.text in RIGHT)
    # Wrong claims have a reason; a known slip repeats the claim's numbers.
    expected = "wrong, slip found" if claim.slip else "wrong"
    assert verdict == (expected if claim.reason else "right")


def test_all_hand_calculations_are_used():
    assert set(RIGHT | WRONG) <= {claim.text for claim in CLAIMS}


def test_the_documentation_has_the_number_of_right_claims():
    page = Path(__file__).parents[2] / "docs" / "costs.md"
    text = " ".join(page.read_text().split())
    right = sum(not claim.reason for claim in CLAIMS)  # by the test above
    assert f"checks {len(CLAIMS)} statements" in text
    assert f": {right} agree with the count" in text


def test_a_verdict_depends_on_the_counts():
    right = next(claim for claim in CLAIMS if claim.text == "138 M parameters")
    assert judge(right)[1] == "right"
    assert judge(dataclasses.replace(right, said=(140,)))[1] == "wrong"


def test_digits_may_be_rounded_or_cut():
    claim = Claim("x", "x", "x", (13.6, "a"), lambda: (), precision=(0.1, 0))
    assert agree(claim, (13.62, "a")) and agree(claim, (13.55, "a"))
    assert not agree(claim, (13.75, "a")) and not agree(claim, (13.6, "b"))
    assert not agree(claim, (13.6,))


def test_records_are_plain():
    record = next(verdicts())
    keys = "about text source said counted verdict reason kind units published "
    assert [*record] == f"{keys}protocol paper command".split()
    json.dumps(record)


def test_experiments_have_their_command_and_the_verdict_of_their_record(tmp_path):
    numbers = {"test_error": 20.0, "training_error": 10.0, "gap": 10.0}
    run = {"variant": "3x3, stride 2", "numbers": numbers}
    folder = tmp_path / "overlapping-full"
    folder.mkdir()
    runs = {"trial-00": run, "trial-01": {**run, "variant": "2x2, stride 2"}}
    experiment_record.save({"size": "full", "runs": runs}, folder)
    found = {each["about"]: each for each in as_claims(tmp_path)}
    assert sorted(found) == installation.experiments()
    assert found["relu"]["command"] == "python experiment.py relu"
    tried = found["overlapping"]  # one seed has no interval
    assert tried["verdict"] == "not decided at this size"
    assert tried["protocol"] == "full, here"
    for run in runs.values():
        other = {key: value + 1 for key, value in run["numbers"].items()}
        run["numbers"] = other if run["variant"].startswith("2x2") else numbers
    runs |= {f"{name}-again": run for name, run in runs.items()}
    experiment_record.save({"size": "full", "runs": runs}, folder)
    found = {each["about"]: each for each in as_claims(tmp_path)}
    assert found["overlapping"]["verdict"] == "holds"
    *_, record = verdicts(found.values())
    assert set(record) == set(next(verdicts())) and record["kind"] == "tried"


def test_the_table_fits_on_a_terminal_and_counts_each_experiment(tmp_path, capsys):
    tried = list(as_claims(tmp_path))
    show_claims("table", Screen(), tried)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if f" {len(tried)} experiments: " in line)
    assert sum(map(int, re.findall(r"(\d+) ", line.partition(":")[2]))) == len(tried)


def test_every_number_has_a_unit():
    for claim in (*CLAIMS, *QUOTED):
        units = claim.units * (len(claim.said) if len(claim.units) == 1 else 1)
        words = [isinstance(value, str) for value in claim.said]
        assert all(words) or len(units) == len(words), claim.text
        for is_word, unit in zip(words, units, strict=False):
            assert is_word != bool(unit), claim.text


def test_a_number_is_written_with_its_unit():
    assert with_units((802_816, 784.0), ("bytes", "KiB")) == [
        "802,816 bytes",
        "784 KiB",
    ]
    assert with_units((64, 128), ("maps",)) == ["64 maps", "128 maps"]
    assert with_units(("yes",), ()) == ["yes"]


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted.text)
def test_a_quoted_result_has_its_protocol_paper_and_reason(quoted):
    assert quoted.protocol and re.search(
        r" (19|20)\d\d, (Tables?|Section) ", quoted.paper
    )
    assert (quoted.verdict == "as published") == (not quoted.reason)
    other = dataclasses.replace(quoted, said=("maybe",) * len(quoted.said))
    assert other.verdict == "not as published"


# Table 7 of Simonyan and Zisserman 2014: top-5 errors on the test images; and the
# abstract of He et al. 2015.
@pytest.mark.parametrize(
    ("about", "error"),
    {
        "alexnet": 16.4,
        "zfnet": 14.8,
        "clarifai": 11.7,
        "vgg": 7.3,
        "resnet": 3.57,
    }.items(),
)
def test_a_quoted_error_is_in_another_source_too(about, error):
    assert (error,) in [quoted.published for quoted in QUOTED if quoted.about == about]


def test_vgg16_without_a_layer():
    # conv3_3: 56 x 56 outputs of 256 maps, each of 3 x 3 x 256 taps.
    rows = counts.short_vgg16()
    assert counts.total(rows, "macs") == 15_470_264_320 - 56**2 * 256 * 2304
    assert counts.conv_mib(rows) == pytest.approx(48.617, abs=5e-4)
