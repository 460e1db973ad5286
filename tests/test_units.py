"""Sizes; rates of links are tested in scaling/test_prediction.py."""

import pytest

from cnn_arch.errors import UsageError
from cnn_arch.units import number, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("3GiB", 3 * 2**30), ("24GB", 24 * 10**9), ("1.5 MiB", 3 * 2**19), ("7MB", 7e6)],
)
def test_sizes(text, size):
    assert parse_size("--memory", text) == size


@pytest.mark.parametrize(
    "text", ["3", "GiB", "3 gigs", "-1GB", "3GiBs", "1e3GB", "0GB", "3Gbit", "3GB/s"]
)
def test_other_texts_are_no_sizes(text):
    with pytest.raises(UsageError, match=f"--memory={text}: must be a size such as"):
        parse_size("--memory", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (60_850.0, "60,850"),
        (7, "7"),
        (12_345.6, "12,346"),
        (9_999.96, "10,000"),
        (0.051234, "0.05123"),
        (-1.2716, "-1.272"),
        (float("inf"), "inf"),
    ],
)
def test_whole_numbers_have_all_digits_and_others_four(value, text):
    assert number(value) == text
