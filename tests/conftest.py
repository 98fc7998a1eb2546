"""Shared by all tests: a CPU for JAX, a cache directory of its own, and the oracle's cases."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Workers side by side leave no core to BLAS threads, which wait for each other spinning. Processes that start from here
# read this; in this one a plugin has loaded NumPy before, so that it is told below.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Most programs here are compiled for a few milliseconds of work: what makes them quick costs more than it saves.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # As a shell has it of what runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Programs that start from here are interrupted by tests.

import pytest
import shape_checks  # noqa: F401  (before last_cli)
import threadpoolctl
from archives import unpacked
from cases import CASES, Case, load_case
from checkpoint_fixtures import DATA
from commands import Run

threadpoolctl.threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]), "blas")
# Traced programs are many objects that stay: going through all of them again and again takes 7 % of the time.
gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A program is compiled once, whichever tests and workers need it; what is half-written is compiled again."""
    import jax  # here, and the command line below: the process that hands out the tests needs neither

    base = tmp_path_factory.getbasetemp()
    programs = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "programs"
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are cached for the whole run, and never in the user's own directory."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("LAST_CACHE_DIR", str(base / "cache"))
    monkeypatch.delenv("LAST_DATA_DIR", raising=False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory of the test's own; not yet made."""
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return load_case(request.param)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line in an empty directory; returns exit code, stdout and stderr."""
    from last_cli.cli import main

    monkeypatch.chdir(tmp_path)

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return command


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the unpacked fixtures. Tests do not change them."""
    directory = tmp_path_factory.mktemp("checkpoints")
    unpacked(DATA / "fixtures.tar.xz", directory)
    return directory
