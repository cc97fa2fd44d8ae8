"""What the notes of imports know of an erased person: originals of repaired values, and whole rejected rows."""

from __future__ import annotations

from typing import Any

from django.db import connection

from leads.erasure import Person

ENDING = 9  # digits in which two spellings of a phone agree, at home and from abroad
ERASED = "erased"

BY_ROW = """
UPDATE import_row_notes SET original = NULL, reason = %(erased)s
WHERE table_name = %(table)s AND row_id = ANY(%(ids)s::bigint[])
"""
# Rejected rows were never stored, so only their own text tells whose they are.
BY_TRAIT = """
UPDATE import_row_notes SET original = NULL, reason = %(erased)s
WHERE original::text ILIKE ANY(%(traits)s) OR reason ILIKE ANY(%(traits)s)
    OR right(regexp_replace(original ->> 'phone', '\\D', '', 'g'), %(ending)s) = ANY(%(endings)s)
    OR table_name IN ('calls', 'meetings') AND original ->> 'lead_id' = ANY(%(leads)s)
    OR table_name IN ('conversation_history', 'meetings') AND original ->> 'call_id' = ANY(%(calls)s)
"""


def forget(person: Person) -> None:
    """Take originals and reasons out of notes about the person's rows, stored or rejected; the counts stay."""
    rows = {model._meta.db_table: keys for model, keys in person.rows.items()}
    for table, ids in rows.items():
        _execute(BY_ROW, {"erased": ERASED, "table": table, "ids": ids})
    digits = ["".join(filter(str.isdigit, phone))[-ENDING:] for phone in person.phones]
    _execute(
        BY_TRAIT,
        {
            "erased": ERASED,
            "traits": [f"%{_escaped(trait)}%" for trait in person.traits()],
            "ending": ENDING,
            "endings": [ending for ending in digits if len(ending) == ENDING],
            "leads": [str(key) for key in person.lead_ids],
            "calls": [str(key) for key in rows.get("calls", ())],
        },
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _execute(statement: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
