"""Paths of other machines, which are not read: what they are, and the command that copies what is there."""

import re
from pathlib import Path

_COPY = {
    "gs": "gcloud storage cp -r {url} {name}",
    "s3": "aws s3 sync {url} {name}",
    "hf": "hf download {rest}",
    "http": "curl -LO {url}",
    "https": "curl -LO {url}",
}


def remote_url(path: Path | str) -> str | None:
    """The URL that a path is, as it was typed; None where it is a path of this machine."""
    match = re.match(r"([a-zA-Z][\w+.-]+):/+(.*)", str(path), re.DOTALL)
    return f"{match[1]}://{match[2]}" if match and not Path(path).exists() else None


def copy_command(url: str) -> str:
    """The command line that copies what is at a URL to here."""
    scheme, _, rest = url.partition("://")
    name = rest.rstrip("/").rpartition("/")[2] or "ckpt"
    command = _COPY.get(scheme.lower(), "rclone copy {url} {name}")
    return command.format(url=url, rest=rest, name=name)
