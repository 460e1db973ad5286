"""The options of the commands, and what a wrong word was meant to be."""

import subprocess
import sys

import pytest

from cnn_arch import command_line, setting_rules
from cnn_arch.errors import UsageError
from tests.commands import ROOT, call, error_line


def make_parser(*names):
    parser = command_line.parser("A command.", "")
    for name in names or ("workdir", "images", "split", "model", "sweep"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--latency", type=float, default=5.0)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    return parser


def test_options_and_settings_are_told_apart():
    words = ["--config", "lenet5", "--batch=0", "--split", "test", "--config.seed", "5"]
    options, others = make_parser().read([*words, "--quiet", "--format=table"])
    assert options.given == {"batch": 0, "split": "test", "quiet": True}
    assert others == ["--config", "lenet5", "--config.seed", "5"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--images=", "--images=: is empty; give a value, or leave it out"),
        ("--images=a --images=b", "--images: is given twice; give it once"),
        ("--images", "--images: needs a value; see --help"),
        ("--batch=x", "--batch: must be a whole number, not x; see --help"),
        ("--latency=x", "--latency: must be a number, not x; see --help"),
        ("--format=x", "--format: must be one of table, json, not x; see --help"),
        ("--quiet=x", "--quiet: takes no value; leave =x out; see --help"),
        # By letters.
        ("--confg=x", "--confg=x: no such option; did you mean --config?"),
        ("--modle=x", "--modle=x: no such option; did you mean --model?"),
        ("--work-dir=x", "--work-dir=x: no such option; did you mean --workdir?"),
        ("--epoch=5", "--epoch=5: no such option; did you mean --config.epochs?"),
        ("--learning-rat=1", "--learning-rat=1: no such option; did you mean "
         "--config.optim.learning_rate?"),
        ("--zzz=5", "--zzz=5: no such option; see --help"),
        # By meaning.
        ("--output_dir=x", "--output_dir=x: no such option; did you mean --workdir?"),
        ("--lr=0.1", "'--lr=0.1': settings need the prefix; write "
         "--config.optim.learning_rate=0.1"),
        ("--optim.lr=0.1", "'--optim.lr=0.1': settings need the prefix; write "
         "--config.optim.learning_rate=0.1"),
        ("--optim.learning_rate=5", "'--optim.learning_rate=5': settings need the "
         "prefix; write --config.optim.learning_rate=5"),
        ("--epochs 5", "'--epochs=5': settings need the prefix; write "
         "--config.epochs=5"),
        ("--epochs=5", "'--epochs=5': settings need the prefix; write "
         "--config.epochs=5"),
        ("lr=0.1", "'lr=0.1': settings need the prefix; write "
         "--config.optim.learning_rate=0.1"),
        ("workdir=x", "'workdir=x': write --workdir=x"),
        ("-workdir=x", "'-workdir=x': write --workdir=x"),
        ("\u2013config=x", "'\u2013config=x': write --config=x"),
        ("\u2014config.seed=1", "'\u2014config.seed=1': write --config.seed=1"),
        # A word without an option.
        ("lenet5", "'lenet5': a word without its option; write --config=lenet5"),
        ("lenet5:folder", "'lenet5:folder': a word without its option; write "
         "--config=lenet5:folder"),
        ("configs/lenet5.py", "'configs/lenet5.py': a word without its option; write "
         "--config=configs/lenet5.py"),
        ("configs/sweeps/lr_wd.py", "'configs/sweeps/lr_wd.py': a word without its "
         "option; write --sweep=configs/sweeps/lr_wd.py"),
        ("lr_wd", "'lr_wd': a word without its option; write --sweep=lr_wd"),
        ("no.png", "'no.png': a word without its option; write --images=no.png"),
        ("lenett5", "'lenett5': a word without its option; did you mean "
         "--config=lenet5?"),
        ("docs", "'docs': a word without its option; write --images=docs"),
        ("zzz", "'zzz': a word without its option; see --help"),
    ],
)  # fmt: skip
def test_each_wrong_word_is_one_line(words, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError) as error:
        make_parser().read(words.split())
    assert str(error.value) == line


def test_without_such_an_option_a_folder_is_data_and_a_model_is_a_recipe(tmp_path):
    parser = make_parser("workdir")
    with pytest.raises(UsageError, match=f"write --config.data.dir={tmp_path}"):
        parser.read([str(tmp_path)])
    with pytest.raises(UsageError, match=r"--model=vgg16: .*did you mean --config"):
        parser.read(["--model=vgg16"])
    (tmp_path / "config.json").touch()
    with pytest.raises(UsageError, match=f"write --workdir={tmp_path}"):
        parser.read([str(tmp_path)])


def test_the_meanings_are_settings():
    known = {*setting_rules.RULES, *setting_rules.FIELD_RULES}
    assert set(command_line.hints.MEANINGS.values()) <= known


@pytest.mark.parametrize("option", ["--a", "--b"])
def test_folders_that_cannot_be_made(option, tmp_path):
    (tmp_path / "file").touch()
    command_line.check_folder(option, str(tmp_path / "new" / "folder"))
    command_line.check_folder(option, str(tmp_path))
    for name in ("file", "file/below", "x" * 300, "nul\0"):
        with pytest.raises(UsageError, match=rf"^{option}=.*choose another fold"):
            command_line.check_folder(option, str(tmp_path / name))


CLASHES = {
    "analyze.py": [
        ("--claims --model=vgg16", "--model=vgg16: has no effect with --claims"),
        ("--claims --config=vgg16", "--config=vgg16: has no effect with --claims"),
        ("--claims --fold", "--fold: has no effect with --claims"),
        ("--model=lenet5 --link=nvlink4", "--link=nvlink4: goes with --scale"),
        ("--model=lenet5 --latency=1", "--latency=1.0: goes with --scale"),
        ("--model=lenet5 --scale=1 --fold", "--fold: has no effect with --scale"),
        ("--model=lenet5 --scale=1 --collectives", "--collectives: has no effect with"),
        ("--model=lenet5 --figures=x --training", "--training: has no effect with"),
        ("--model=lenet5 --figures=x --format=csv", "--format=csv: has no effect"),
        ("--report=x --model=lenet5", "--model=lenet5: has no effect with --report"),
        ("--model=lenet5 --config=vgg16", "--model=lenet5: give it or --config"),
        ("--report=README.md", "README.md is not a folder; choose another folder"),
    ],
    "sweep.py": [
        ("--status --resume --workdir=x", "--resume: has no effect with --status"),
        ("--status --workdir=x --max_parallel=2", "--max_parallel=2: has no effect"),
        ("--status --workdir=x --executor=local", "--executor=local: has no effect"),
        ("--resume --workdir=x --sweep=y", "--sweep=y: has no effect with --resume"),
        ("--config=lenet5 --sweep=lr_wd --workdir=README.md/x", "is not a folder;"),
        ("--config=lenet5 --sweep=lr_wd --executor=local --nodes=0", "--nodes: needs"),
    ],
    "train.py": [
        ("--config=lenet5 --profile=x --workdir=y", "--workdir=y: has no effect with"),
        ("--config=lenet5 --workdir=README.md/x", "README.md is not a folder; choose"),
        ("--config=lenet5 --workdir=", "--workdir=: is empty; give a value"),
        ("--config=lenet5 --profile=README.md", "README.md is not a folder; choose"),
        (
            "--config=lenet5:folder --config.data.dir=no",
            "no: no such folder",
        ),
    ],
    "eval.py": [
        ("--workdir=x --images=", "--images=: is empty; give a value, or leave it out"),
        ("--workdir=x --images=README.md --export=b.npz", "--images=README.md: has no"),
    ],
}


@pytest.mark.parametrize(
    ("program", "words", "message"),
    [(name, *each) for name, cases in CLASHES.items() for each in cases],
)
def test_options_without_effect_are_refused(program, words, message):
    assert message in error_line(call(program, *words.split()))


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--config=lenet5", "--workdir=README.md/x"),
        ("train", "--config=lenet5:folder", "--config.data.dir=no"),
        ("train", "--config=lenet5", "--config.model.name=lenet6"),
        ("prepare", "mnist", "--from=no"),
        ("eval", "--workdir=docs", "--export=b.txt"),
        ("eval", "--workdir=docs", "--images=no.png"),
        ("analyze", "--model=lenet5", "--memory=3XB"),
        ("analyze", "--scale=4,2", "--model=lenet5", "--roofline=h100", "--link=pcie3"),
    ],
)
def test_what_is_known_early_is_said_before_jax_is_imported(words):
    code = (
        "import runpy, sys\nname, *words = sys.argv[1:]\n"
        "sys.argv = [f'{name}.py', *words]\ntry:\n"
        "    runpy.run_path(f'{name}.py', run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 2 and 'jax' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("error: --")
