"""Weights of other code: safetensors, PyTorch and msgpack files into checkpoints, and back."""

from last_cli.interop.exporting import export_weights
from last_cli.interop.importing import import_weights
from last_cli.interop.reports import ExportReport, ImportReport, KeyRow

__all__ = ["ExportReport", "ImportReport", "KeyRow", "export_weights", "import_weights"]
