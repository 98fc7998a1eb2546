"""Which files a report may replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from last_cli.base.errors import OutputError
from last_cli.display.forms import form_of


@pytest.mark.parametrize(
    "content", ['{"schema": "last.stamp/1"}', '{"written": {}}', '{"model_type": "mamba2"}', "{}", "[1]", "notes"]
)
def test_a_json_file_that_is_no_report_is_not_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "last.json"
    file.write_text(content)
    with pytest.raises(OutputError, match="no report of `last`"):
        form_of(file, ["json"])


@pytest.mark.parametrize("content", [None, "", '{"schema": "last.score/1"}'])
def test_a_report_replaces_a_report(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    assert form_of(file, ["json"]) == "json"
