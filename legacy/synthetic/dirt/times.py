"""Times in every form found in old files, and times that are none."""

from datetime import UTC, datetime, timedelta
from random import Random
from sqlite3 import Connection

from legacy.synthetic.dirt.picking import Maker, always, change, pick

_COLUMNS = (
    ("leads", "created_at"),
    ("calls", "started_at"),
    ("calls", "ended_at"),
    ("calls", "created_at"),
    ("conversation_history", "created_at"),
    ("meetings", "scheduled_time"),
)
_CAN_BE_NULL = (
    ("leads", "created_at"),
    ("leads", "updated_at"),
    ("calls", "started_at"),
    ("calls", "created_at"),
    ("conversation_history", "created_at"),
    ("meetings", "updated_at"),
    ("settings", "updated_at"),
)


def _everywhere(connection: Connection, rng: Random, *makers: Maker) -> None:
    for table, column in _COLUMNS:
        change(connection, rng, table, column, makers, f"{column} IS NOT NULL")


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def times_with_t(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: old.replace(" ", "T"))


def times_with_z(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: old.replace(" ", "T") + "Z")


def times_with_utc_offset(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: old.replace(" ", "T") + "+00:00")


def times_with_other_offset(connection: Connection, rng: Random) -> None:
    def in_berlin(old: str) -> str:
        return (datetime.fromisoformat(old) + timedelta(hours=2)).isoformat() + "+02:00"

    _everywhere(connection, rng, in_berlin)


def dates_alone(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: old[:10])


def epoch_seconds(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, _epoch)


def epoch_milliseconds(connection: Connection, rng: Random) -> None:
    # NUMERIC affinity turns the digits into an integer, as it did for the scripts.
    _everywhere(connection, rng, lambda old: f"{_epoch(old)}123")


def unreadable_times(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, always("last tuesday"))


def times_out_of_range(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, always("0001-01-01 00:00:00"))
    change(connection, rng, "leads", "updated_at", [always("9999-12-31 23:59:59")])


def null_times(connection: Connection, rng: Random) -> None:
    for table, column in _CAN_BE_NULL:
        change(connection, rng, table, column, [always(None)])
    # A meeting without a time cannot be one; hand-made tables hold it all the same.
    change(connection, rng, "meetings", "scheduled_time", [always(None)])


def ended_before_started(connection: Connection, rng: Random) -> None:
    for row in pick(connection, rng, "calls", where="ended_at IS NOT NULL"):
        connection.execute(
            "UPDATE calls SET ended_at = started_at, started_at = ended_at WHERE id = ?", (row,)
        )
