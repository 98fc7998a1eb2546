"""Shared by all tests: a CPU for JAX, a cache directory of its own, and the oracle's cases."""

from __future__ import annotations

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import pytest
from cases import CASES, Case, load_case


@pytest.fixture(autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are cached for the whole run, and never in the user's own directory."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("LAST_CACHE_DIR", str(base / "cache"))
    monkeypatch.delenv("LAST_DATA_DIR", raising=False)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return load_case(request.param)
