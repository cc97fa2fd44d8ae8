"""Brings a file into tables that hold rows already: only what is new or changed in SQLite, nothing of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import sql

from database.bulk.copying import copy_blocks
from legacy.clashes import find_clashes
from legacy.compare import Difference, Row, compare
from legacy.errors import Stopped
from legacy.load import copy_keys, host_id, key_rows, stored_columns
from legacy.mapped import NULL, Chunk, MappedTable
from legacy.tables import MEETINGS, PARTNERS, Table
from legacy.target import BUCKET_BITS, Connection, digest_sql

# What a mapped row that is not the stored one calls for. `base` is its digest as the last import left it.
VERDICTS = """
CREATE TEMP TABLE verdict_{table} ON COMMIT DROP AS
SELECT i.id, CASE
    WHEN s.id IS NULL AND b.digest IS NULL THEN 'insert'
    WHEN s.id IS NULL AND b.digest = {incoming} THEN 'left'            -- deleted in PostgreSQL only
    WHEN s.id IS NULL THEN 'conflict_deleted'
    WHEN b.digest IS NULL THEN 'conflict_foreign'                      -- the id was given away in PostgreSQL
    WHEN b.digest = s.digest THEN 'update'
    WHEN b.digest = {incoming} THEN 'left'                             -- changed in PostgreSQL only
    ELSE 'conflict'
END AS verdict
FROM incoming_{table} i
LEFT JOIN (SELECT t.id, {stored} AS digest FROM {source} WHERE t.id IN (SELECT id FROM incoming_{table})) s
    ON s.id = i.id
LEFT JOIN ({base}) b ON b.id = i.id
"""
BASE = """
SELECT u.id, u.digest FROM import_row_digests d, unnest(d.row_ids, d.digests) AS u(id, digest)
WHERE d.table_name = '{table}' AND d.bucket IN (SELECT id >> {bits} FROM {ids}) AND u.id IN (SELECT id FROM {ids})
"""
REASONS = {
    "conflict": "changed in PostgreSQL and in SQLite",
    "conflict_deleted": "deleted in PostgreSQL, changed in SQLite",
    "conflict_foreign": "another row has this id in PostgreSQL",
}
NAMED_CONFLICTS = 20
KEEP, TAKE, STOP = "keep", "take", "stop"

# While rows change places (two leads swap their phones), no order of updates satisfies a unique index;
# so the changing rows first step aside.
ASIDE: dict[str, str] = {
    "partners": "name = 'moving ' || t.id",
    "leads": "phone = 'moving ' || t.id",
    "calls": "twilio_call_sid = NULL, ended_at = coalesce(t.ended_at, t.started_at)",
    "conversation_history": "turn = t.turn + 1000000000",
    "meetings": "calendar_event_id = NULL, allow_overlap = true",
    "settings": "key = 'moving ' || t.id",
}


class Conflict(NamedTuple):
    table: str
    row_id: int
    original: str  # JSON of the row that was not taken
    reason: str


class Missing(NamedTuple):
    """A row that was imported once and is gone from SQLite."""

    table: str
    row_id: int
    deleted: bool


@dataclass
class Merged:
    """What became of the mapped rows of one table."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    left: set[int] = field(default_factory=set)  # rows that rightly differ from the file
    missing: list[Missing] = field(default_factory=list)
    wrote: bool = False


class Merge:
    """Merges one table; parents have to be merged before their children."""

    def __init__(
        self, connection: Connection, mapped: MappedTable, on_conflict: str, rejected_ids: Iterable[int]
    ) -> None:
        self.connection, self.mapped, self.table = connection, mapped, mapped.table
        self.on_conflict, self.rejected_ids = on_conflict, rejected_ids
        self.merged = Merged()

    def prepare(self, progress: Callable[[str, int], None]) -> None:
        """Find out what has to be done; nothing is written."""
        self._stage(progress)
        self._judge()
        self._settle_conflicts()
        self._find_missing()

    def apply(self) -> None:
        """Write what can be written."""
        self._leave_clashes()
        self._apply()

    # Each step of these:

    def _stage(self, progress: Callable[[str, int], None]) -> None:
        """Put mapped rows that are not the stored ones into a temporary table, and ids that only PostgreSQL has."""
        name = self.table.name
        columns = ", ".join(f'"{column.name}" {column.type}' for column in self.table.columns)
        self._run(f"CREATE TEMP TABLE incoming_{name} ({columns}, PRIMARY KEY (id)) ON COMMIT DROP")
        self._run(f"CREATE TEMP TABLE extra_{name} (id bigint PRIMARY KEY) ON COMMIT DROP")
        for difference in compare(self.connection, self.mapped):
            self._stage_chunk(difference)
            progress(name, difference.rows)
        self._run(f"ANALYZE incoming_{name}")

    def _stage_chunk(self, difference: Difference) -> None:
        name = self.table.name
        rows = [*difference.only_mapped.values(), *(row for row, _ in difference.changed.values())]
        self.merged.unchanged += difference.rows - len(rows)
        if rows:
            chunk = _chunk(self.table, rows)
            columns = self.table.column_names
            self._copy(f"incoming_{name}", columns, [chunk.copy_text(columns)])
        if difference.only_stored:
            self._copy(
                f"extra_{name}", ["id"], [b"".join(b"%d\n" % row_id for row_id in difference.only_stored)]
            )

    def _judge(self) -> None:
        name = self.table.name
        base = BASE.format(table=name, bits=BUCKET_BITS, ids=f"incoming_{name}")
        self._run(
            VERDICTS.format(
                table=name,
                incoming=digest_sql(self.table, "i"),
                stored=digest_sql(self.table),
                source=self.table.from_clause,
                base=base,
            )
        )

    def _settle_conflicts(self) -> None:
        name, merged = self.table.name, self.merged
        taken = self.on_conflict == TAKE
        kept = f"(SELECT to_jsonb(i) FROM incoming_{name} i WHERE i.id = v.id)"
        lost = f'(SELECT to_jsonb(t) FROM "{name}" t WHERE t.id = v.id)'
        rows = self.connection.execute(
            f"SELECT v.id, v.verdict, coalesce({lost if taken else kept}, 'null')::text FROM verdict_{name} v"
            f" WHERE v.verdict LIKE 'conflict%' ORDER BY v.id"
        ).fetchall()
        merged.conflicts = [
            Conflict(
                name, row_id, original, f"{REASONS[verdict]}; {'SQLite' if taken else 'PostgreSQL'} kept"
            )
            for row_id, verdict, original in rows
        ]
        if taken:
            self._run(f"UPDATE verdict_{name} SET verdict = 'insert' WHERE verdict = 'conflict_deleted'")
            self._run(f"UPDATE verdict_{name} SET verdict = 'update' WHERE verdict LIKE 'conflict%'")
        else:
            self._run(f"UPDATE verdict_{name} SET verdict = 'foreign' WHERE verdict = 'conflict_foreign'")
            self._run(f"UPDATE verdict_{name} SET verdict = 'left' WHERE verdict LIKE 'conflict%'")
        left = self.connection.execute(
            f"SELECT id FROM verdict_{name} WHERE verdict IN ('left', 'foreign')"
        ).fetchall()
        merged.left = {row[0] for row in left}
        merged.unchanged += len(left)

    def _leave_clashes(self) -> None:
        name, merged = self.table.name, self.merged
        for clash in find_clashes(self.connection, self.table):
            row = self.connection.execute(
                f"SELECT to_jsonb(i)::text FROM incoming_{name} i WHERE id = %s", (clash.row_id,)
            ).fetchone()
            merged.conflicts.append(Conflict(name, clash.row_id, row[0] if row else "null", clash.reason))
            merged.left.add(clash.row_id)
            merged.unchanged += 1

    def _apply(self) -> None:
        name, merged = self.table.name, self.merged
        self._run(
            f'UPDATE "{name}" t SET {ASIDE[name]} WHERE t.id IN'
            f" (SELECT id FROM verdict_{name} WHERE verdict = 'update')"
        )
        columns = stored_columns(self.table)
        settings = ", ".join(f'"{column}" = i."{column}"' for column in columns if column != "id")
        if self.table is MEETINGS:
            settings += f", host_id = {host_id(self.connection)}"
        merged.updated = self._run(
            f'UPDATE "{name}" t SET {settings} FROM incoming_{name} i JOIN verdict_{name} v ON v.id = i.id'
            " WHERE v.verdict = 'update' AND t.id = i.id"
        )
        listed = ", ".join(f'"{column}"' for column in columns)
        host_column, host = (
            (", host_id", f", {host_id(self.connection)}") if self.table is MEETINGS else ("", "")
        )
        merged.inserted = self._run(
            f'INSERT INTO "{name}" ({listed}{host_column}) SELECT {listed}{host} FROM incoming_{name} i'
            f" WHERE i.id IN (SELECT id FROM verdict_{name} WHERE verdict = 'insert') ORDER BY i.id"
        )
        if not (merged.updated or merged.inserted):
            return
        merged.wrote = True
        if self.table is PARTNERS:
            self._apply_keys()
        self._remember(f"SELECT id FROM verdict_{name} WHERE verdict IN ('insert', 'update')")

    def _apply_keys(self) -> None:
        changed = "SELECT id FROM verdict_partners WHERE verdict IN ('insert', 'update')"
        rows = self.connection.execute(
            f"SELECT id::text, coalesce(key_prefix, ''), key_digest FROM incoming_partners WHERE id IN ({changed})"
        ).fetchall()
        names = ("id", "key_prefix", "key_digest")
        cells = {
            n: [NULL if row[i] is None else row[i].encode() for row in rows] for i, n in enumerate(names)
        }
        self._run(
            f"DELETE FROM partner_api_keys k USING incoming_partners i WHERE k.is_legacy AND k.partner_id = i.id"
            f" AND i.id IN ({changed}) AND k.digest IS DISTINCT FROM i.key_digest"
        )
        kept = {
            row[0] for row in self.connection.execute("SELECT digest FROM partner_api_keys WHERE is_legacy")
        }
        wanted = [i for i, digest in enumerate(cells["key_digest"]) if digest.decode() not in kept]
        chunk = Chunk(0, 0, {name: [values[i] for i in wanted] for name, values in cells.items()})
        copy_keys(self.connection, key_rows(chunk))

    def _remember(self, ids: str) -> None:
        """Renew the digests of rows that were written."""
        name = self.table.name
        parameters = {"table": name}
        self._run("DROP TABLE IF EXISTS renewed")
        self.connection.execute(
            f"""
            CREATE TEMP TABLE renewed ON COMMIT DROP AS
            WITH changed AS ({ids}), buckets AS (SELECT DISTINCT id >> {BUCKET_BITS} AS bucket FROM changed)
            SELECT u.id, u.digest FROM import_row_digests d JOIN buckets USING (bucket),
                unnest(d.row_ids, d.digests) AS u(id, digest)
            WHERE d.table_name = %(table)s AND u.id NOT IN (SELECT id FROM changed)
            UNION ALL
            SELECT t.id, {digest_sql(self.table)} FROM {self.table.from_clause} WHERE t.id IN (SELECT id FROM changed)
            """,
            parameters,
        )
        self.connection.execute(
            f"DELETE FROM import_row_digests WHERE table_name = %(table)s"
            f" AND bucket IN (SELECT id >> {BUCKET_BITS} FROM ({ids}) changed)",
            parameters,
        )
        self.connection.execute(
            "INSERT INTO import_row_digests (table_name, bucket, row_ids, digests)"
            f" SELECT %(table)s, id >> {BUCKET_BITS}, array_agg(id ORDER BY id), array_agg(digest ORDER BY id)"
            f" FROM renewed GROUP BY id >> {BUCKET_BITS}",
            parameters,
        )

    def _find_missing(self) -> None:
        """Find rows that an earlier import brought and the file no longer has; a rejected row is still there."""
        name = self.table.name
        if name not in self.mapped.workspace.layout.tables:
            return
        self._run(f"CREATE TEMP TABLE refused_{name} (id bigint) ON COMMIT DROP")
        self._copy(f"refused_{name}", ["id"], (b"%d\n" % row_id for row_id in self.rejected_ids))
        base = BASE.format(table=name, bits=BUCKET_BITS, ids=f"extra_{name}")
        self._run(
            f"CREATE TEMP TABLE missing_{name} ON COMMIT DROP AS SELECT b.id, b.digest FROM ({base}) b"
            f" WHERE b.id NOT IN (SELECT id FROM refused_{name})"
        )
        rows = self.connection.execute(f"SELECT id FROM missing_{name} ORDER BY id").fetchall()
        self.merged.missing = [Missing(name, row[0], False) for row in rows]

    def _copy(self, table: str, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        copy_blocks(self.connection.cursor(), sql.Identifier(table), columns, blocks)

    def _run(self, statement: str) -> int:
        return self.connection.execute(statement.encode()).rowcount


def stop_on_conflicts(merged: Iterable[Merged]) -> None:
    """Raise Stopped when any table has a conflict."""
    found = [conflict for each in merged for conflict in each.conflicts]
    if found:
        named = ", ".join(f"{each.table} {each.row_id}" for each in found[:NAMED_CONFLICTS])
        more = f" and {len(found) - NAMED_CONFLICTS} more" if len(found) > NAMED_CONFLICTS else ""
        raise Stopped(f"Conflicts in {named}{more}; nothing was changed.")


def _chunk(table: Table, rows: list[Row]) -> Chunk:
    return Chunk(0, 0, {name: [row[name] for row in rows] for name in table.column_names})


def delete_missing(connection: Connection, merges: Iterable[Merge]) -> None:
    """Delete rows that are gone from SQLite, unless PostgreSQL's was changed or another row still needs it."""
    for merge in reversed(list(merges)):
        ids = _deletable(connection, merge)
        for statement in DELETIONS[merge.table.name]:
            connection.execute(statement, {"ids": ids})
        if ids:
            merge.merged.wrote = True
            merge._remember(
                f"SELECT id FROM missing_{merge.table.name} WHERE id = ANY('{_array(ids)}'::bigint[])"
            )
        gone = set(ids)
        merge.merged.missing = [
            each._replace(deleted=each.deleted or each.row_id in gone) for each in merge.merged.missing
        ]


def _deletable(connection: Connection, merge: Merge) -> list[int]:
    name = merge.table.name
    if not merge.merged.missing:
        return []
    used = " ".join(
        f"AND NOT EXISTS (SELECT 1 FROM {child} c WHERE c.{column} = t.id)" for child, column in USERS[name]
    )
    rows = connection.execute(
        f"SELECT t.id FROM {merge.table.from_clause} JOIN missing_{name} m ON m.id = t.id"
        f" WHERE m.digest = {digest_sql(merge.table)} {used} ORDER BY t.id"
    )
    return [row[0] for row in rows]


def _array(ids: list[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


USERS: dict[str, tuple[tuple[str, str], ...]] = {
    "partners": (
        ("leads", "partner_id"),
        ("(SELECT * FROM partner_api_keys WHERE NOT is_legacy)", "partner_id"),
    ),
    "leads": (("calls", "lead_id"), ("meetings", "lead_id"), ("leads", "duplicate_of_id")),
    "calls": (("conversation_history", "call_id"), ("meetings", "call_id")),
    "conversation_history": (),
    "meetings": (),
    "settings": (),
}
DELETIONS: dict[str, tuple[str, ...]] = {
    name: (
        *(("DELETE FROM partner_api_keys WHERE partner_id = ANY(%(ids)s)",) if name == "partners" else ()),
        f'DELETE FROM "{name}" WHERE id = ANY(%(ids)s)',
    )
    for name in USERS
}
