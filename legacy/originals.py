"""The original values of a note, as JSON keeps them and as people read and edit them.

Text that is not UTF-8 or has NUL stands as `{"text_hex": ...}`, a blob as `{"blob_hex": ...}`, and a number
that JSON has no word for as `{"real": "inf"}`.
"""

import json
from collections.abc import Mapping


def shown(value: object) -> str:
    """Write one original value for a text field; NULL becomes the empty text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _shown_special(value)
    return json.dumps(value)


def _shown_special(value: Mapping[str, object]) -> str:
    if "text_hex" in value:
        return bytes.fromhex(str(value["text_hex"])).decode("utf-8", "replace").replace("\0", "")
    if "blob_hex" in value:
        return str(value["blob_hex"])
    if "real" in value:
        return str(value["real"])
    return json.dumps(value, ensure_ascii=False)


def decoded(value: object) -> object:
    """Return the value as SQLite held it: bytes for a blob and for text that is not UTF-8 or has NUL."""
    if not isinstance(value, dict):
        return value
    if "real" in value:
        return float(str(value["real"]))
    for kind in ("text_hex", "blob_hex"):
        if kind in value:
            return bytes.fromhex(str(value[kind]))
    return value
