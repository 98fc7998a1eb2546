"""Stamps checkpoints anew: their last.json gets digests of all that lies there now, and nothing else is touched.

    python sample_checkpoints/stamp.py sample_checkpoints/s5-listops ...

For samples that were written before stamps had digests, or whose files were changed on purpose.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from last_cli import formats
from last_cli.formats.digests import tree_digests
from last_cli.formats.format import format_named
from last_cli.formats.write import written_entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="bare trees, each with a last.json")
    for path in parser.parse_args().checkpoints:
        found = formats.index(path, checked=False)
        assert found.stamp and found.location.directory == path.absolute(), f"{path}: no bare tree with a stamp"
        trees = {"": tree_digests(found.tree)}
        written = written_entry(path, format_named(found.location.format), trees, found.stamp)
        (path / formats.STAMP_FILE).write_text(json.dumps({**found.stamp, "written": written}, indent=1))


if __name__ == "__main__":
    main()
