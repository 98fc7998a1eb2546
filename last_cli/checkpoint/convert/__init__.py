"""Weights of other code: safetensors, PyTorch and msgpack files into checkpoints, and back."""

from last_cli.checkpoint.convert.export import export_weights
from last_cli.checkpoint.convert.import_ import import_weights
from last_cli.results.convert import ExportReport, ImportReport, KeyRow

__all__ = ["ExportReport", "ImportReport", "KeyRow", "export_weights", "import_weights"]
