"""Values as SQLite holds them, and their form in notes, where every original can be had back exactly."""

from __future__ import annotations

import json
import math
from typing import Any


class Undecodable(bytes):
    """Text of the old file that is not UTF-8."""


class HiddenKey(str):
    """An API key of which only the digest is known; its text is the digest in hex."""

    prefix: str = ""


def read_text(raw: bytes) -> str | Undecodable:
    """Decode text as sqlite3's `text_factory`, keeping what cannot be decoded instead of failing."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Undecodable(raw)


def to_json(value: Any) -> Any:
    """Return the form of a value in a note; JSON has no bytes, infinity, or (in PostgreSQL) NUL."""
    if isinstance(value, HiddenKey):
        return {"sha256": str(value), "prefix": value.prefix}
    if isinstance(value, Undecodable):
        return {"text_hex": value.hex()}
    if isinstance(value, bytes):
        return {"blob_hex": value.hex()}
    if isinstance(value, float) and _is_odd(value):
        return {"real": repr(value)}
    if isinstance(value, str) and "\0" in value:
        return {"text_hex": value.encode().hex()}
    return value


def _is_odd(value: float) -> bool:
    """Tell whether JSON in PostgreSQL, which keeps decimal digits, would give another number or an integer."""
    return not math.isfinite(value) or "e" in repr(value) or (value == 0 and math.copysign(1, value) < 0)


def from_json(value: Any) -> Any:
    """Return the value that `to_json` was given; text in hex comes back as `Undecodable` or str."""
    if not isinstance(value, dict):
        return value
    if "sha256" in value:
        key = HiddenKey(value["sha256"])
        key.prefix = value["prefix"]
        return key
    if "text_hex" in value:
        return read_text(bytes.fromhex(value["text_hex"]))
    if "blob_hex" in value:
        return bytes.fromhex(value["blob_hex"])
    return float(value["real"])


def dump(value: Any) -> str:
    """Return a value, or a whole row as a dict of values, as JSON text."""
    if isinstance(value, dict):
        return json.dumps({key: to_json(cell) for key, cell in value.items()}, ensure_ascii=False)
    return json.dumps(to_json(value), ensure_ascii=False)


def load_row(text: str) -> dict[str, Any]:
    """Return the row that `dump` wrote."""
    return {key: from_json(cell) for key, cell in json.loads(text).items()}
