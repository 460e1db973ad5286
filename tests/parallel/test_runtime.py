"""The precision that suits the devices, the cache of compiled programs, and memory."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from cnn_arch import processor, settings
from cnn_arch.parallel import runtime
from cnn_arch.screen import Screen
from tests.commands import ROOT

OPTION = "jax_compilation_cache_dir"


@pytest.fixture(autouse=True)
def no_cache():
    """Sets back what the function changes."""
    before = getattr(jax.config, OPTION)
    jax.config.update(OPTION, None)
    yield
    jax.config.update(OPTION, before)


# Some of the flags that /proc/cpuinfo has on such processors.
PROCESSORS = {
    "Intel Xeon, Sapphire Rapids": ("avx2 avx512f avx512_bf16 amx_bf16", "bfloat16"),
    "AMD EPYC, Genoa": ("avx2 avx512f avx512_bf16 clzero", "bfloat16"),
    "Intel Xeon, Skylake": ("avx2 avx512f avx512dq", "float32"),
    "AMD EPYC, Milan": ("avx2 fsrm", "float32"),
}


@pytest.mark.parametrize("model", PROCESSORS)
def test_training_has_the_precision_of_the_processor(model, monkeypatch, capsys):
    flags, fastest = PROCESSORS[model]
    facts = f"model name\t: {model}\nflags\t\t: fpu sse {flags}\n"
    monkeypatch.setattr(processor, "_facts", lambda: facts)
    warning = "no instructions for bfloat16"
    for words, precision, warns in (
        ([], fastest, False),
        (["--config.precision=float32"], "float32", False),
        (["--config.precision=bfloat16"], "bfloat16", fastest == "float32"),
    ):
        config, _ = settings.parse(["--config=resnet20", *words], trains=True)
        _, config = runtime.open_for_training(config, Screen())
        assert config.precision == precision
        shown = capsys.readouterr()
        assert f", {precision}   (no GPU used)" in shown.out
        assert (warning in shown.err) == warns


@pytest.mark.parametrize(
    ("instructions", "has_onednn", "is_wide"),
    [(flags, True, "avx512f" in flags) for flags, _ in PROCESSORS.values()]
    + [("sse4_2", False, False), ("asimd", False, False)],  # before AVX2; ARM's
)
def test_flags_of_xla_suit_the_processor(
    instructions, has_onednn, is_wide, monkeypatch
):
    word = "Features\t" if instructions == "asimd" else "flags\t\t"
    facts = f"model name\t: A\n{word}: fp {instructions}\n"
    monkeypatch.setattr(processor, "_facts", lambda: facts)
    flags = runtime.cpu_flags(processor.vector_unit())
    assert ("--xla_cpu_experimental_onednn_custom_call=true" in flags) == has_onednn
    assert ("--xla_cpu_prefer_vector_width=512" in flags) == is_wide
    assert bool(flags) == has_onednn


@pytest.mark.slow
@pytest.mark.skipif(processor.vector_unit() == "unknown", reason="needs oneDNN's calls")
def test_the_flags_save_scratch_memory_and_call_onednn():
    code = """
from benchmarks.ours import open_program
words = "--config=resnet20", "--config.batch_size=32", "--config.precision=float32"
program = open_program(words)
program.compile()
print(program.train_step.memory_analysis().temp_size_in_bytes)
print(program.train_step.as_text().count("__onednn$convolution"))
"""

    def measure(left_out: str) -> list[int]:
        flags = runtime.cpu_flags(processor.vector_unit())
        kept = " ".join(flag for flag in flags if left_out not in flag)
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=ROOT,
            capture_output=True,
            env={**os.environ, "XLA_FLAGS": kept},
        )
        return [int(word) for word in done.stdout.split()]

    memory, calls = measure("nothing")
    assert measure("scheduler_type")[0] > 1.3 * memory
    assert calls > 50 and measure("onednn_custom_call")[1] == 0


@pytest.mark.parametrize(
    ("platform", "capability", "native"),
    [
        ("gpu", "7.5", False),  # T4
        ("gpu", "8.0", True),  # A100
        ("gpu", "10.0", True),  # B200
        ("gpu", "gfx90a", True),  # AMD's MI250
        ("tpu", None, True),
    ],
)
def test_gpus_and_tpus_that_multiply_bfloat16(platform, capability, native):
    device = SimpleNamespace(platform=platform, compute_capability=capability)
    assert runtime.multiplies_bfloat16(device) == native


def test_only_training_depends_on_the_processor():
    assert settings.parse(["--config=resnet20"])[0].precision == "float32"
    recipes = {path.stem for path in (ROOT / "configs").glob("[a-z]*.py")} - {"base"}
    own = {
        name
        for name in recipes
        if settings.parse([f"--config={name}"], trains=True)[0].precision != "auto"
    }
    assert own == {"lenet", "lenet5"}


def kept_in():
    runtime.keep_compiled_programs()
    return getattr(jax.config, OPTION)


def test_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert kept_in() == str(tmp_path / "new" / "cnn_arch" / "xla")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept_in() == str(tmp_path / "home" / ".cache" / "cnn_arch" / "xla")


def test_without_a_home_nothing_is_kept(tmp_path, monkeypatch):
    """As for a user id that the system does not know, without HOME."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert kept_in() is None
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", "/proc", "/sys/kernel"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        assert kept_in() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_no_thread_returns_a_large_array_to_the_system():
    """From a second arena, glibc would map such an array anew each time."""
    code = """
import ctypes, resource, threading
from cnn_arch.parallel import runtime
runtime.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
SIZE = 100 * 2**20
barrier = threading.Barrier(6)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def allocate():
    place = ctypes.c_void_p(libc.malloc(SIZE))
    ctypes.memset(place, 1, SIZE)
    libc.free(place)
def work(turn):
    libc.free(ctypes.c_void_p(libc.malloc(100)))
    for each in range(6):
        barrier.wait()
        if each == turn:
            allocate()
allocate()
before = faults()
threads = [threading.Thread(target=work, args=(turn,)) for turn in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(faults() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True
    )
    assert int(done.stdout) < 2_000  # pages; one array has 25,600
