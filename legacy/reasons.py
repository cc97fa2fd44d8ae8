"""The reasons of notes by their shape: numbers are left out, so that a reason which names a row is one reason.

There are few shapes among millions of notes, and an index has them in order; so they are read by leaping from one to
the next, and a search looks through the shapes instead of the notes.
"""

from __future__ import annotations

import re

from django.db import connection
from django.db.models import F, Func, Q, Value

NUMBER = "N"
DIGITS = "[0-9]+"
MOST_SHAPES = 1000
SHAPE = Func(F("reason"), Value(DIGITS), Value(NUMBER), Value("g"), function="regexp_replace")

# As SHAPE writes it, or PostgreSQL does not see that the index answers it.
SHAPE_OF_NOTE = f"regexp_replace(reason, '{DIGITS}', '{NUMBER}', 'g')"
SHAPES = f"""
WITH RECURSIVE shapes AS (
    (SELECT {SHAPE_OF_NOTE} AS shape FROM import_row_notes ORDER BY 1 LIMIT 1)
    UNION ALL
    SELECT (SELECT {SHAPE_OF_NOTE} FROM import_row_notes WHERE {SHAPE_OF_NOTE} > shapes.shape ORDER BY 1 LIMIT 1)
    FROM shapes WHERE shapes.shape IS NOT NULL
)
SELECT shape FROM shapes WHERE shape IS NOT NULL LIMIT %s
"""


def shape_of(text: str) -> str:
    """Return a text as the shapes are written."""
    return re.sub(DIGITS, NUMBER, text)


def shapes(most: int = MOST_SHAPES) -> list[str]:
    """Return the shapes of all reasons, in the order of the alphabet."""
    with connection.cursor() as cursor:
        cursor.execute(SHAPES, [most])
        return [shape for (shape,) in cursor.fetchall()]


def having_words(term: str) -> Q:
    """Return the condition on notes, annotated with `shape`, whose reason has all words of a term."""
    words = shape_of(term).lower().split()
    return Q(shape__in=[shape for shape in shapes() if all(word in shape.lower() for word in words)])
