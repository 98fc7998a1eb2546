from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAST_DATA_DIR", raising=False)
    monkeypatch.setenv("LAST_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
