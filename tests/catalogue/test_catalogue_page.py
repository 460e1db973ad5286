"""The page of the catalogue: its numbers, and its behaviour in a browser."""

import re
import time

import pytest

from cnn_arch.catalogue.page import make_entry, write_report
from cnn_arch.costs.blocks import find_layers
from cnn_arch.models import MODELS
from tests.catalogue.browser import CHROMIUM, Browser
from tests.costs.conftest import rows_of
from tests.paper_tables import TOTALS

NETWORKS = "lenet5 alexnet vgg16 googlenet resnet20 resnet50 plain18".split()
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    return write_report(folder, {name: rows_of(name) for name in NETWORKS})


@pytest.fixture(scope="module")
def browser(report):
    with Browser(1280, 1000) as opened:
        opened.open(report)
        opened.wait_for("document.querySelector('#chart .mark-symbol path')")
        yield opened


def read_tables(page: str) -> list[list[list[str]]]:
    """Returns the rows of each table: the number to sort a cell by, or its text."""
    cell = re.compile(
        r'<t[dh](?: class="\w+")?(?: data-v="(.*?)")?>(.*?)</t[dh]>', re.S
    )
    return [
        [
            [number or re.sub("<.*?>", "", text) for number, text in cell.findall(row)]
            for row in table.split("<tr>")[1:]
        ]
        for table in re.findall("<table.*?</table>", page, re.S)
    ]


def test_the_page_needs_no_other_files(report):
    page = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 2e6
    markup = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    for attribute in ("src", "href", "action"):
        assert all(
            value.startswith("#")
            for value in re.findall(rf'<[^>]* {attribute}="([^"]*)"', markup)
        )
    assert "default-src 'none'" in page and "unsafe-eval" not in page
    assert "@import" not in markup and "url(" not in markup.replace("url(#head)", "")


def test_the_tables_have_the_counted_numbers(report):
    tables = read_tables(report.read_text(encoding="utf-8"))
    zoo = {row[0]: row for row in tables[0][1:]}
    assert list(zoo) == NETWORKS
    for network, row in zoo.items():
        params, macs, image_size, *_ = TOTALS[network]
        assert [int(cell) for cell in row[2:5]] == [image_size, params, macs]
    assert zoo["resnet50"][8] == "24.7" and "README" in zoo["resnet50"][10]
    assert zoo["vgg16"][5] == str(4 * 15_237_608)  # CS231n's sum, bytes
    layers = [table for table in tables if table[0][0] == "layer"]
    for network, table in zip(NETWORKS, layers, strict=True):
        assert len(table) - 1 == len(find_layers(rows_of(network)))
    alexnet = {row[0]: row for row in layers[1]}
    conv2 = ["conv2", "5x5, 256, ReLU", "27x27x256", "307,456", "223,948,800"]
    assert alexnet["conv2"][:5] == conv2  # 5 * 5 * 48 * 256 + 256; two groups
    assert alexnet["conv2"][6:] == ["51", "8"]


@pytest.mark.parametrize(
    ("network", "depth"),  # the papers' own counts
    [("alexnet", 8), ("vgg16", 16), ("googlenet", 22), ("resnet20", 20)],
)
def test_depth(network, depth):
    assert make_entry(network, rows_of(network)).depth == depth


@needs_browser
def test_the_page_opens_without_errors(browser, report):
    assert browser.complaints() == []
    assert browser.requests() == [report.resolve().as_uri()]
    # All but lenet5 and resnet20 have an error on ImageNet.
    shown = "document.querySelectorAll('#chart .mark-symbol.role-mark path').length"
    assert browser.evaluate(shown) == 5
    assert browser.evaluate("document.documentElement.scrollWidth") == 1280


def order(browser: Browser) -> list[str]:
    return browser.evaluate(
        "[...document.querySelectorAll('.zoo tbody tr')].filter(row => !row.hidden)"
        ".map(row => row.cells[0].textContent)"
    )


def click(browser: Browser, selector: str) -> None:
    """Scrolls to an element and clicks it with the mouse."""
    element = f"document.querySelector({selector!r})"
    browser.evaluate(f"{element}.scrollIntoView()")
    browser.click(*middle(browser, element))


def middle(browser: Browser, element: str) -> tuple[float, float]:
    """Returns the middle of an element in the window, px."""
    x, y = browser.evaluate(
        f"(() => {{const box = {element}.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]})()"
    )
    return x, y


@needs_browser
def test_a_click_on_a_header_sorts_by_number(browser):
    by_params = sorted(NETWORKS, key=lambda network: TOTALS[network][0])
    click(browser, ".zoo th:nth-child(4) button")
    assert order(browser) == by_params
    header = "document.querySelector('.zoo th:nth-child(4)').getAttribute('aria-sort')"
    assert browser.evaluate(header) == "ascending"
    click(browser, ".zoo th:nth-child(4) button")
    assert order(browser) == by_params[::-1]
    click(browser, ".zoo th:nth-child(10) button")  # top-5: three have none
    assert order(browser)[:4] == ["resnet50", "vgg16", "googlenet", "alexnet"]
    click(browser, ".zoo th:nth-child(1) button")
    assert order(browser) == sorted(NETWORKS)


@needs_browser
def test_the_filter_hides_rows(browser):
    def write(text: str) -> None:
        browser.evaluate(
            "(() => {const field = document.getElementById('filter');"
            f"field.value = {text!r}; field.dispatchEvent(new Event('input'))}})()"
        )

    write("2015 CENTRAL")
    assert order(browser) == ["resnet50"]
    found = "document.getElementById('found').textContent"
    assert browser.evaluate(found) == "1 of 7"
    write("")
    assert len(order(browser)) == 7


def bubble_of(network: str) -> str:
    return (
        "[...document.querySelectorAll('#chart .mark-symbol.role-mark path')]"
        f".find(path => path.__data__?.datum?.network === {network!r})"
    )


def middle_of_bubble(browser: Browser, network: str) -> tuple[float, float]:
    """Scrolls to the chart and returns the middle of a bubble, px."""
    browser.evaluate("document.getElementById('chart').scrollIntoView()")
    return middle(browser, bubble_of(network))


@needs_browser
def test_hovering_over_a_bubble_names_the_network_and_the_source(browser):
    browser.move(*middle_of_bubble(browser, "vgg16"))
    tip = browser.wait_for("document.querySelector('.vg-tooltip.visible')?.innerText")
    assert "vgg16" in tip and "28.41" in tip
    assert "torchvision, weights IMAGENET1K_V1" in tip
    assert "one central crop" in tip
    browser.move(2, 2)


@needs_browser
def test_the_axes_and_the_data_set_can_be_chosen(browser):
    def choose(index: int, option: str) -> None:
        browser.evaluate(
            "(() => {const menu = "
            f"document.querySelectorAll('.vega-bind select')[{index}];"
            "menu.selectedIndex = [...menu.options].findIndex("
            f"option => option.text === {option!r});"
            "menu.dispatchEvent(new Event('change'))})()"
        )

    def x_of(network: str) -> float:
        return browser.evaluate(f"{bubble_of(network)}.getBoundingClientRect().x")

    assert x_of("vgg16") > x_of("resnet50")  # 15.5 against 3.9 billion MACs
    choose(2, "layers with weights")
    title = "document.querySelector('#chart .role-title-text').textContent"
    browser.wait_for(f"{title} === 'top-1 error, %, against layers with weights'")
    assert x_of("resnet50") > x_of("vgg16")  # 50 against 16
    choose(0, "CIFAR-10")
    marks = "document.querySelectorAll('#chart .mark-symbol.role-mark path')"
    browser.wait_for(f"{marks}.length === 1")
    assert browser.complaints() == []
    choose(0, "ImageNet")
    choose(2, "multiply-adds, billion")


@needs_browser
def test_a_network_is_one_click_away(browser):
    click(browser, ".zoo a[href='#googlenet']")
    shown = "document.getElementById('googlenet').getBoundingClientRect()"
    assert browser.wait_for(f"{shown}.height > 500 && {shown}.top > -50")
    texts = "document.querySelector('#googlenet svg').textContent"
    assert "inception_4e" in browser.evaluate(texts)
    assert browser.evaluate("document.getElementById('vgg16').offsetHeight") == 0
    browser.click(*middle_of_bubble(browser, "alexnet"))
    browser.wait_for("location.hash === '#alexnet'")


@needs_browser
def test_the_page_fits_the_width_of_a_phone(report):
    with Browser(400, 800, touch=True) as phone:
        phone.open(report)
        phone.wait_for("document.querySelector('#chart .mark-symbol path')")
        assert phone.evaluate("document.documentElement.scrollWidth") == 400
        phone.move(*middle_of_bubble(phone, "vgg16"))
        tip = "document.querySelector('.vg-tooltip.visible')"
        phone.wait_for(tip)
        box = phone.evaluate(f"{tip}.getBoundingClientRect().toJSON()")
        assert box["left"] >= 0 and box["right"] <= 400
        assert box["top"] >= 0 and box["bottom"] <= 800
        assert phone.complaints() == []


@pytest.mark.slow
def test_the_whole_page_is_small_and_takes_at_most_three_minutes(tmp_path):
    start = time.monotonic()
    path = write_report(tmp_path, {name: rows_of(name) for name in MODELS})
    assert path.stat().st_size < 2e6
    assert time.monotonic() - start < 180
