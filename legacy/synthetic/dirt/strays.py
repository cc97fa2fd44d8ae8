"""Tables and columns nobody declared, and what the failed rebuild of `calls` left behind."""

from random import Random
from sqlite3 import Connection

from legacy.schema import CALLS_BACKUP, COLUMNS
from legacy.synthetic.dirt.picking import add, has, pick, put

_KEPT = ", ".join(COLUMNS[1]["calls"])


def extra_tables(connection: Connection, rng: Random) -> None:
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.execute("INSERT INTO alembic_version VALUES ('4f1c2a9be07d')")
    connection.execute('CREATE TABLE "tmp export, do not delete" (a, b)')
    rows = ((number, rng.random()) for number in range(5))
    connection.executemany('INSERT INTO "tmp export, do not delete" VALUES (?, ?)', rows)
    connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB)")
    connection.execute("INSERT INTO jobs (payload) VALUES (x'00ff80')")


def extra_columns(connection: Connection, rng: Random) -> None:
    _extend(connection, rng, "leads", '"Priority (Anna)"', "VIP, call first")
    _extend(connection, rng, "calls", "cost", 0.0375)
    _extend(connection, rng, "meetings", "room", "B\n2")


def _extend(connection: Connection, rng: Random, table: str, column: str, value: object) -> None:
    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for row in pick(connection, rng, table):
        put(connection, table, row, column, value)


def _backup(connection: Connection, row: int) -> None:
    if not has(connection, "calls_backup"):
        connection.execute(CALLS_BACKUP)
    connection.execute(f"INSERT INTO calls_backup ({_KEPT}) SELECT {_KEPT} FROM calls WHERE id = ?", (row,))


def calls_only_in_backup(connection: Connection, rng: Random) -> None:
    for row in pick(connection, rng, "calls", where="ended_at IS NOT NULL"):
        _backup(connection, row)
        connection.execute("DELETE FROM calls WHERE id = ?", (row,))


def calls_also_in_backup(connection: Connection, rng: Random) -> None:
    for row in pick(connection, rng, "calls"):
        _backup(connection, row)


def backup_ids_used_again(connection: Connection, rng: Random) -> None:
    changes = ("lead_id = lead_id % 2 + 1", "started_at = '2024-12-01 10:00:00.000001'")
    rows = pick(connection, rng, "calls", least=2, where="lead_id > 2 AND ended_at IS NOT NULL")
    for number, row in enumerate(rows):
        _backup(connection, row)
        connection.execute(f"UPDATE calls_backup SET {changes[number % 2]} WHERE id = ?", (row,))


def orphaned_backup_calls(connection: Connection, rng: Random) -> None:
    values = {"lead_id": 900_000_030, "outcome": "COMPLETED", "started_at": "2024-12-02 11:00:00"}
    if not has(connection, "calls_backup"):
        connection.execute(CALLS_BACKUP)
    add(connection, "calls_backup", id=800_000_000, transcript="AI: Hello", **values)
