"""Every test of a task has a cache of its own, as what it reads lies elsewhere each time."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> None:
    """See `cache`."""
