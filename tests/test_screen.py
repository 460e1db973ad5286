"""Names are shown in one line of visible characters."""

import pytest

from cnn_arch.screen import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("t-shirt", "t-shirt"),
        ("a\nb\tc\x1b[31m", "a?b?c?[31m"),
        ("\u202egnp.exe", "?gnp.exe"),  # right-to-left override
        ("\udcff.jpg", "?.jpg"),  # a byte that is not UTF-8, as os.listdir gives it
        ("衣服 é", "衣服 é"),
    ],
)
def test_printable_keeps_what_can_be_seen(text, shown):
    assert printable(text) == shown


def test_printable_cuts_to_the_width():
    assert printable("trousers", 8) == "trousers"
    assert printable("trousers", 7) == "trouse…"
    assert printable("衣服衣服", 8) == "衣服衣服"
    assert printable("衣服衣服", 7) == "衣服衣…"
    assert printable("衣服衣服", 6) == "衣服…"
