from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from checkpoint_fixtures import DATA


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the unpacked fixtures. Tests do not change them."""
    directory = tmp_path_factory.mktemp("checkpoints")
    with tarfile.open(DATA / "fixtures.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return directory
