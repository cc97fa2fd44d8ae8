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
# Rejected rows were never stored, so only their own text tells whose they are, and what refers to them was rejected
# with them: calls of a rejected lead, turns and meetings of a rejected call. Their ids count within one run.
BY_TRAIT = """
WITH named AS MATERIALIZED (
    SELECT id, run_id, table_name, coalesce(row_id::text, original ->> 'id') AS old,
        jsonb_typeof(original) = 'object' AS is_whole_row
    FROM import_row_notes
    WHERE {named}
        OR right(regexp_replace(original ->> 'phone', '\\D', '', 'g'), %(ending)s) = ANY(%(endings)s::text[])
), children AS MATERIALIZED (
    SELECT id, run_id, table_name, coalesce(row_id::text, original ->> 'id') AS old,
        regexp_replace(btrim(original ->> 'lead_id'), '\\.0+$', '') AS lead,
        regexp_replace(btrim(original ->> 'call_id'), '\\.0+$', '') AS call
    FROM import_row_notes
    WHERE table_name IN ('calls', 'meetings', 'conversation_history') AND jsonb_typeof(original) = 'object'
), of_leads AS (
    SELECT id, run_id, table_name, old FROM children
    WHERE lead = ANY(%(leads)s::text[])
        OR (run_id, lead) IN (SELECT run_id, old FROM named WHERE table_name = 'leads' AND is_whole_row)
), calls AS (
    SELECT run_id, old FROM of_leads WHERE table_name = 'calls'
    UNION SELECT run_id, old FROM named WHERE table_name = 'calls' AND is_whole_row
), of_calls AS (
    SELECT id FROM children
    WHERE call = ANY(%(calls)s::text[]) OR (run_id, call) IN (SELECT run_id, old FROM calls)
)
UPDATE import_row_notes SET original = NULL, reason = %(erased)s
WHERE id IN (SELECT id FROM named UNION ALL SELECT id FROM of_leads UNION ALL SELECT id FROM of_calls)
"""


def forget(person: Person) -> None:
    """Take originals and reasons out of notes about the person's rows, stored or rejected; the counts stay."""
    rows = {model._meta.db_table: keys for model, keys in person.rows.items()}
    for table, ids in rows.items():
        _execute(BY_ROW, {"erased": ERASED, "table": table, "ids": ids})
    digits = ["".join(filter(str.isdigit, phone))[-ENDING:] for phone in person.phones]
    known = person.known()
    named = " OR ".join(known.condition(text) for text in ("original::text", "reason"))
    _execute(
        BY_TRAIT.replace("{named}", named),
        {
            "erased": ERASED,
            **known.parameters(),
            "ending": ENDING,
            "endings": [ending for ending in digits if len(ending) == ENDING],
            "leads": [str(key) for key in rows.get("leads", ())],
            "calls": [str(key) for key in rows.get("calls", ())],
        },
    )


def _execute(statement: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
