"""What a bug report needs to know of a machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from last_cli.base import cache
from last_cli.base.errors import UsageError
from last_cli.evaluation.devices import device_name, start_devices
from last_cli.results.doctor import CacheSize, Doctor

PACKAGES = ("numpy", "jax", "jaxlib", "flax", "orbax-checkpoint", "tensorstore", "typer", "rich", "ml_dtypes")
OPTIONAL = ("matplotlib", "tokenizers", "torch", "transformers", "pyarrow", "scikit-learn")
SETTINGS = ("LAST_", "JAX_", "XLA_", "CUDA_VISIBLE_DEVICES")


def doctor() -> Doctor:
    """Versions, devices, cache and data; nothing that is missing is an error."""
    try:
        directory: str | None = str(cache.cache_dir())
    except RuntimeError:  # no home
        directory = None
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    return Doctor(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        devices=_devices(),
        cache=CacheSize(directory, sum(cache.entries().values())),
        data=os.environ.get("LAST_DATA_DIR"),
        settings=settings,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> str:
    try:
        devices = start_devices(None)
    except (ImportError, UsageError) as error:
        return f"none: {error}"
    return device_name(devices[0], len(devices))
