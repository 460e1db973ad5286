"""The pages: links lead somewhere, commands are taken, samples are what is printed."""

import ast
import re
import runpy
import shlex
import sys

import pytest

from cnn_arch import __version__, cli, installation, models, settings
from cnn_arch.experiments import plan
from cnn_arch.sweeps import space
from tests.commands import ROOT, call, run

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A program of the checkout or its name once it is installed, as far as the line goes.
COMMAND = re.compile(
    r"(?:python (prepare|train|eval|analyze|sweep|experiment)\.py|"
    r"cnn-arch (prepare|train|eval|analyze|sweep|experiment)|"
    r"(?:sbatch [-\w=: ]*)?(train)\.sbatch)( [^`\n|]*|$)"
)


def code(text: str, language: str) -> list[str]:
    """Returns the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def shown_commands() -> list[tuple[str, str, str]]:
    """Returns the page, the program and the words of every command that is shown."""
    found = []
    for page, name in zip(PAGES, NAMES, strict=True):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for *programs, words in COMMAND.findall(text):
            words = words.partition("  #")[0].split("   ")[0]
            if words.strip() and "..." not in words:
                found.append((name, "".join(programs), " ".join(words.split())))
    return sorted(set(found))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", head.lower()) for head in headings]
            assert anchor in [slug.replace(" ", "-") for slug in slugs], link


def test_every_page_is_reached_from_the_readme():
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links]
        left += [p for p in targets if p.suffix == ".md" and p not in reached]
    assert reached >= set(PAGES)


@pytest.mark.parametrize("name", NAMES)
def test_files_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(
        r"`((?:cnn_arch|configs|docs|tests|benchmarks)/[\w/.]+)`", text
    ):
        assert (ROOT / path).exists() or path == "configs/NAME.py", path


def test_one_batch_is_followed_through_eleven_files():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = re.findall(r"^\| \d+ \| `([\w/.]+)` \|", text, re.M)
    assert len(files) <= 11 and all((ROOT / file).exists() for file in files)


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changes.partition("\n## ")[2].startswith(__version__)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory):
    """A folder with the files of a user that the pages show, and nothing else."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my").mkdir()
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    (folder / "my" / "recipe.py").write_text(code(page, "python")[0])
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


@pytest.mark.parametrize(("page", "program", "line"), shown_commands())
def test_commands_are_taken(page, program, line, users_folder, monkeypatch):
    """The program's own parser takes the options, and settings the rest."""
    parsed = []
    monkeypatch.setattr(cli, "run", lambda _, parser, **__: parsed.append(parser))
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    monkeypatch.chdir(users_folder)
    monkeypatch.setattr(sys, "argv", [str(ROOT / f"{program}.py")])
    runpy.run_path(sys.argv[0], run_name="__main__")
    options, words = parsed[0].parse_known_args(shlex.split(line))
    assert all(word.startswith("--config") for word in words)
    if any(re.match(r"--config[= ]", word) for word in words):
        settings.parse(words)
    elif words and program == "experiment":
        plan.check(plan.read(options.name), options.size, "folder", words)
    elif words:
        settings.parse([f"--config={options.model}", *words])
    if program == "experiment" and options.name:
        assert installation.find_experiment(options.name).exists()
    if getattr(options, "model", None):
        assert options.model in models.MODELS
    if getattr(options, "sweep", None):
        assert installation.find_sweep(options.sweep).exists()


def test_make_has_the_targets():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = re.findall(r"(?:^    |`)make ([a-z-]+)(?=`|\s|$)", text, re.M)
        assert set(shown) <= set(targets), page


@pytest.mark.parametrize("name", NAMES)
def test_python_is_python(name, tmp_path):
    for block in code((ROOT / name).read_text(encoding="utf-8"), "python"):
        ast.parse(block)
        if "def get_sweep" in block:
            (tmp_path / "sweep.py").write_text(block)
            assert space.read_trials(str(tmp_path / "sweep.py"), ["--config=lenet5"])


OF_A_MACHINE = "compile", "XLA      state"  # rows that differ between machines
# A command of analyze.py alone in its block, right before an indented block.
SAMPLE = re.compile(
    r"^(?:```\n|    )python analyze\.py (.*)\n(?:```\n)?\n((?:    .*\n|\n(?=    ))+)",
    re.M,
)


def samples() -> list[tuple[str, str, str]]:
    """Returns the page, the words and the shown output of each ``analyze.py``."""
    return [
        (name, words, re.sub(r"^    ", "", output, flags=re.M))
        for page, name in zip(PAGES, NAMES, strict=True)
        for words, output in SAMPLE.findall(page.read_text(encoding="utf-8"))
    ]


SLOW = "--collectives", "--scale", "--training"
SAMPLES = [
    pytest.param(*each, marks=[pytest.mark.slow] * any(map(each[1].count, SLOW)))
    for each in samples()
]


@pytest.mark.parametrize(("page", "line", "output"), SAMPLES)
def test_samples_are_what_is_printed(page, line, output):
    # Devices are opened once in a process, and the mesh needs its own.
    start = run if "--collectives" in line else call
    result = start("analyze.py", *shlex.split(line))
    assert result.returncode == 0, result.stderr
    shown = [row for row in output.splitlines() if not row.startswith(OF_A_MACHINE)]
    assert not set(shown) - set(result.stdout.splitlines()), page
