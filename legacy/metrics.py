"""The last import from SQLite, as /metrics shows it."""

from collections.abc import Iterable

from database.figures import Figure, FigureQuery, Rows, Value, register

LAST_RUN = """
SELECT extract(epoch FROM started_at) + seconds, report FROM import_runs ORDER BY id DESC LIMIT 1
"""
WAYS = ("read", "inserted", "updated", "unchanged", "rejected", "repaired", "conflicts")

FINISHED = Figure("scheduler_import_finished_timestamp_seconds", "When the last import ended, in Unix time.")
VERIFIED = Figure("scheduler_import_verified", "1 when the last import was verified, otherwise 0.")
ROWS = Figure(
    "scheduler_import_rows",
    "Rows of the last import, by table and what became of them: read, inserted, updated, unchanged, rejected, "
    "repaired, conflicts.",
    ("table", "way"),
)


def last_run(rows: Rows, figures: tuple[Figure, ...]) -> Iterable[Value]:
    for finished, report in rows:
        yield FINISHED.name, (), float(finished)
        yield VERIFIED.name, (), float(bool(report.get("verified")))
        for table, counts in report.get("tables", {}).items():
            yield from ((ROWS.name, (table, way), float(counts.get(way, 0))) for way in WAYS)


register(FigureQuery("import", LAST_RUN, (FINISHED, VERIFIED, ROWS), last_run))
