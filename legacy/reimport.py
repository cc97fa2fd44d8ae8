"""Import one rejected row again, with the values that staff corrected."""

from typing import Any

from legacy.models import ImportRowNote


class CorrectionRefused(Exception):
    """The row cannot be imported as it stands; the text says why, `column` where, when one is to blame."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.column = column


def import_corrected(note: ImportRowNote, values: dict[str, str | None], user: Any) -> None:
    """Convert the corrected row by the rules of the import and insert it with its old id.

    Raises CorrectionRefused, with nothing written.
    """
    raise CorrectionRefused("Rows cannot be imported again yet.")
