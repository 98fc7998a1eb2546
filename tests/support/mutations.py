"""Files that were damaged or made up: structured changes of good ones, all of them fixed by a seed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack

Files = dict[str, bytes]
"""A tree of files by their paths; a path that ends in `/` is an empty directory, the content PIPE a named pipe."""

PIPE = b"\0pipe\0"
NUMBERS = [0, -1, 1, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**64, 10**30, 1e308, -1e-320, 0.5]
NUMBERS += [float("inf"), float("nan")]
TEXTS = [
    "",
    "x",
    "../../etc/passwd",
    "/",
    "a/b",
    "a.b",
    "\0",
    "\x1b[31m",
    "::error::x",
    "=1+1",
    "\u202e",
    "\ud800",
    "[red]",
]
TEXTS += ["<f4", "|O", "float128", "bfloat16", "int4", "complex64", "(9,)f4", "M8[s]", "finfo", "V0", "PLACEHOLDER://x"]
TEXTS += ["[red]", "x" * 300, "9" * 5000, "zlib", "jax.Array", "None", "Dict", "scalar", "string"]

OPCODES = [b"0", b"1", b"2", b"(", b")", b"]", b"}", b"t", b"a", b"s", b"u", b"R", b"b", b"N", b"\x85", b"\x86", b"Q"]
OPCODES += [b"h\0", b"h\1", b"h\2", b"q\0", b"\x94", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\x7f" * 8, b"K\0"]
OPCODES += [b"\x8b\xd0\x07\0\0" + b"\x7f" * 2000, b"X\1\0\0\0/", b"X\3\0\0\0\xed\xa0\x80", b"cos\nsystem\n", b"."]


def value(rng: random.Random) -> Any:
    """Whatever is not expected somewhere."""
    return rng.choice(
        [
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice([None, True, False, [], {}]),
            lambda: [rng.choice(NUMBERS) for _ in range(rng.randrange(4))],
            lambda: {rng.choice(TEXTS): rng.choice(NUMBERS)},
            lambda: _deep(rng.choice([[], {}]), rng.choice([90, 200, 600, 2000])),
        ]
    )()


def _deep(leaf: Any, levels: int) -> Any:
    for _ in range(levels):
        leaf = {"a": leaf} if isinstance(leaf, dict) else [leaf]
    return leaf


def edited(rng: random.Random, node: Any) -> Any:
    """A tree of dicts and lists with one part of it removed, renamed, doubled or replaced."""
    if not isinstance(node, (dict, list)) or not node or rng.random() < 0.05:
        return value(rng)
    found: dict[Any, Any] = dict(node) if isinstance(node, dict) else dict(enumerate(node))
    key = rng.choice(list(found))
    way = rng.random()
    if way < 0.7:
        found[key] = edited(rng, found[key])
    elif way < 0.8:
        del found[key]
    elif way < 0.87:
        found[rng.choice(TEXTS) if isinstance(node, dict) else len(found)] = found[key]
    elif way < 0.92:
        found[rng.choice(TEXTS)] = found.pop(key)
    else:
        found[key] = found[rng.choice(list(found))]
    return found if isinstance(node, dict) else list(found.values())


def bytes_edited(rng: random.Random, content: bytes) -> bytes:
    """As disks, copies and attackers do it, whatever the format."""
    at, size = rng.randrange(len(content) + 1), rng.choice([1, 2, 4, 8, 64])
    number = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 10**9, 10**6])
    packed = struct.pack(rng.choice("<>") + "Q", number)[: size if size < 8 else 8]
    return rng.choice(
        [
            lambda: b"",
            lambda: content[:at],
            lambda: content[at:],
            lambda: content[:at] + content[at + size :],
            lambda: content[:at] + rng.randbytes(size) + content[at + size :],
            lambda: content[:at] + rng.randbytes(size) + content[at:],
            lambda: content[:at] + packed + content[at + len(packed) :],
            lambda: content[:at] + content[:at][-size:] + content[at:],
            lambda: content + rng.randbytes(size),
            lambda: (
                content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
                if at < len(content)
                else content
            ),
            lambda: rng.randbytes(rng.randrange(40)),
            lambda: rng.choice([b"[", b'{"a":', b"\x91", b"\x81\xa1a", b"("]) * rng.choice([100, 1100, 20000]),
        ]
    )()


def json_edited(rng: random.Random, content: bytes) -> bytes:
    """JSON that says something else, or the same twice."""
    found = edited(rng, json.loads(content))
    if isinstance(found, dict) and isinstance(rich := found.get("value_metadata_tree"), str) and rng.random() < 0.3:
        with contextlib.suppress(ValueError):
            found["value_metadata_tree"] = json.dumps(edited(rng, json.loads(rich)))
    return dumped(found)


def dumped(tree: Any) -> bytes:
    """As JSON, however deep it is."""
    try:
        return json.dumps(tree).encode()
    except RecursionError:
        return b'{"a":' * 3000 + b"1" + b"}" * 3000


def msgpack_edited(rng: random.Random, content: bytes) -> bytes:
    """A tree of flax with other leaves, or other arrays."""
    try:
        tree = msgpack.unpackb(content, strict_map_key=False, raw=False)
        for _ in range(rng.randrange(1, 3)):
            tree = edited(rng, _arrays_edited(rng, tree)) if rng.random() < 0.4 else _arrays_edited(rng, tree)
        return msgpack.packb(tree, default=str, unicode_errors="surrogatepass") or b""
    except (ValueError, OverflowError, RecursionError, TypeError):
        return bytes_edited(rng, content)


def _arrays_edited(rng: random.Random, node: Any) -> Any:
    """One array of the tree with another shape, type or content."""
    if isinstance(node, msgpack.ExtType):
        if rng.random() < 0.2:
            return msgpack.ExtType(rng.choice([0, 1, 2, 3, 4, 127]), node.data)
        try:
            parts = list(msgpack.unpackb(node.data, raw=True))
        except ValueError:
            return node
        return msgpack.ExtType(
            node.code, msgpack.packb(edited(rng, parts), default=str, unicode_errors="replace") or b""
        )
    if isinstance(node, dict) and node:
        key = rng.choice(list(node))
        return {**node, key: _arrays_edited(rng, node[key])}
    return node


def safetensors_edited(rng: random.Random, content: bytes) -> bytes:
    """Another header, with its length put right."""
    length = int.from_bytes(content[:8], "little")
    header = dumped(edited(rng, json.loads(content[8 : 8 + length])))
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def npz_edited(rng: random.Random, content: bytes) -> bytes:
    """Members with other headers, names or contents, and checksums that fit them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            body = old.read(name)
            if name == chosen:
                body = _npy_edited(rng, body)
                name = rng.choice([name] * 6 + ["../x.npy", "x", name.upper(), rng.choice(names)])
            new.writestr(name, body, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    return bytes_edited(rng, out.getvalue()) if rng.random() < 0.2 else out.getvalue()


def _npy_edited(rng: random.Random, body: bytes) -> bytes:
    if rng.random() < 0.3:
        return bytes_edited(rng, body)
    length = int.from_bytes(body[8:10], "little")
    shape = rng.choice(
        ["(1000000000,)", "(-1,)", "(2, 3)", "()", "(0, 5)", "(99999999999999999999,)", "[" * 200, "'a'"]
    )
    dtype = rng.choice(["<f8", "|O", "<U9", "|V0", "<M8[s]", ">i2", "<c8", "|b1", "[('a', '<f8')]", "<f16", "|S3", "?"])
    header = body[10 : 10 + length].decode("latin1")
    if rng.random() < 0.5:
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {shape}", header)
    else:
        header = re.sub(r"'descr': '[^']*'", f"'descr': '{dtype}'", header)
    header = header.strip() + "\n"
    return body[:8] + struct.pack("<H", len(header)) + header.encode("latin1") + body[10 + length :]


def torch_edited(rng: random.Random, content: bytes) -> bytes:
    """A file of `torch.save` whose pickle or one of whose storages is otherwise, in a zip that is whole."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        pickle = next(name for name in names if name.endswith("data.pkl"))
        chosen = pickle if rng.random() < 0.8 else rng.choice(names)
        for name in names:
            body = old.read(name)
            if name == chosen:
                body = pickle_edited(rng, body) if name == pickle else bytes_edited(rng, body)
            new.writestr(name, body, rng.choice([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED]))
    return bytes_edited(rng, out.getvalue()) if rng.random() < 0.2 else out.getvalue()


def pickle_edited(rng: random.Random, content: bytes) -> bytes:
    """A pickle with opcodes that were removed, exchanged, doubled, or have another argument."""
    places = [int(position or 0) for _, _, position in pickletools.genops(content)]
    parts = [content[at:end] for at, end in pairwise([*places, len(content)])]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(parts))
        own, other, any_ = parts[at], rng.choice(parts), rng.choice(OPCODES)
        parts[at] = rng.choice([b"", other, own + other, any_ + own, any_, bytes_edited(rng, own)[:30]])
    return b"".join(parts)


def png_edited(rng: random.Random, content: bytes) -> bytes:
    """Parts with other contents, and checksums that fit them."""
    parts, at = [], 8
    while at + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        parts.append((kind, content[at + 8 : at + 8 + size]))
        at += 12 + size
    chosen = rng.randrange(len(parts))
    kind, body = parts[chosen]
    if kind == b"IDAT" and rng.random() < 0.3:
        body = zlib.compress(b"\0" * rng.choice([0, 10, 10**6]))
    parts[chosen] = rng.choice([kind, b"IHDR", b"PLTE", b"IEND", b"abcd"]), bytes_edited(rng, body)
    if rng.random() < 0.2:
        rng.shuffle(parts)
    whole = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return content[:8] + b"".join(whole)


def manifest_edited(rng: random.Random, content: bytes) -> bytes:
    """A node of an OCDBT database that was changed, with a checksum that fits it."""
    body = bytearray(content[:-4])
    for _ in range(rng.randrange(1, 4)):
        body[rng.randrange(12, len(body))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(body) + struct.pack("<I", crc32c(bytes(body)))


def crc32c(content: bytes) -> int:
    """The checksum of OCDBT (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def file_edited(rng: random.Random, name: str, content: bytes) -> bytes:
    """A file with a change that keeps its form in parts, where the form is known; else one of its bytes."""
    if rng.random() < 0.25 or not content:
        return bytes_edited(rng, content)
    for fits, edit in EDITS:
        if fits(name, content):
            with contextlib.suppress(Exception):
                return edit(rng, content)  # a second change may find no form any more
    return bytes_edited(rng, content)


def _is_json(name: str, content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), (dict, list))
    except (ValueError, RecursionError):
        return False


def _is_torch(name: str, content: bytes) -> bool:
    return name.endswith((".bin", ".pt")) and content.startswith(b"PK")


EDITS: list[tuple[Callable[[str, bytes], bool], Callable[[random.Random, bytes], bytes]]] = [
    (_is_json, json_edited),
    (lambda name, content: name.endswith("manifest.ocdbt") and len(content) > 20, manifest_edited),
    (lambda name, content: name.endswith(".safetensors"), safetensors_edited),
    (lambda name, content: name.endswith(".npz"), npz_edited),
    (_is_torch, torch_edited),
    (lambda name, content: content[:1] == b"\x80" and content[-1:] == b".", pickle_edited),
    (lambda name, content: content.startswith(b"\x89PNG"), png_edited),
    (lambda name, content: name.endswith((".msgpack", "checkpoint")), msgpack_edited),
]


def mutated(rng: random.Random, files: Files) -> Files:
    """A tree with one to three of its files changed, removed, exchanged, or become something else."""
    files = dict(files)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not files:
            break
        name = rng.choice(sorted(files, key=lambda name: (len(files[name]) > 4000, name))[: rng.choice([3, 8, 999])])
        way = rng.random()
        if way < 0.86:
            files[name] = file_edited(rng, name, files[name])
        elif way < 0.89:
            del files[name]
        elif way < 0.91:
            files[rng.choice(sorted(files))] = files[name]
        elif way < 0.93:
            files[f"{name}{rng.choice(['.orbax-checkpoint-tmp-1', '2', '.json', '_7'])}"] = files[name]
        elif way < 0.97:
            files[name] = PIPE
        else:
            del files[name]
            files[f"{name}/"] = b""
    return files


def write_files(root: Path, files: Files) -> None:
    """Puts a tree on the disk; what cannot be there, as a file below a file, is left out."""
    for name, content in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif content == PIPE:
                os.mkfifo(path)
            else:
                path.write_bytes(content)
        except OSError:
            continue
