"""Compile Python sources to `.pyc` with unchecked hashes: run as a program, by the guest's interpreter.

A process of its own with a fixed hash seed, because the bytes that `marshal` writes depend on what else the
process has done.  "Unchecked" means that the guest never looks for the source again.

Standard input: JSON, a list of [source on the host, file name for tracebacks]. Standard output: for each
one its length (4 bytes, big endian) and its bytes; length 0 when the source is not valid for this
interpreter.

Source: PEP 552.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import struct
import sys
from pathlib import Path

_HASH_BASED_UNCHECKED = 1


def compiled(source: bytes, filename: str) -> bytes:
    """Compile one source; empty when it is not valid Python for this interpreter."""
    try:
        code = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return b""
    header = importlib.util.MAGIC_NUMBER + struct.pack("<I", _HASH_BASED_UNCHECKED)
    return header + importlib.util.source_hash(source) + marshal.dumps(code)


if __name__ == "__main__":
    for path, filename in json.load(sys.stdin):
        result = compiled(Path(path).read_bytes(), filename)
        sys.stdout.buffer.write(struct.pack(">I", len(result)) + result)
