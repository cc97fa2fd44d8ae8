"""Enums, numbers and booleans as scripts and hands wrote them."""

from random import Random
from sqlite3 import Connection

from legacy.synthetic import clock
from legacy.synthetic.dirt.picking import add, always, change, has

_OLD_OUTCOMES = ("completed", "in_progress", "meeting_scheduled", "failed", "voicemail", "declined")
_BORN = clock.by_database(clock.START)


def lower_case_enums(connection: Connection, rng: Random) -> None:
    for table, column in (
        ("leads", "status"),
        ("calls", "outcome"),
        ("meetings", "status"),
        ("conversation_history", "role"),
    ):
        change(connection, rng, table, column, [str.lower], f"{column} IS NOT NULL")


def old_outcomes(connection: Connection, rng: Random) -> None:
    names = (*_OLD_OUTCOMES, *map(str.upper, _OLD_OUTCOMES))
    change(connection, rng, "calls", "outcome", [always(name) for name in names], "ended_at IS NOT NULL")


def unknown_outcomes(connection: Connection, rng: Random) -> None:
    change(connection, rng, "calls", "outcome", [always("MAYBE_LATER"), always("")])


def unknown_lead_statuses(connection: Connection, rng: Random) -> None:
    change(connection, rng, "leads", "status", [always("ARCHIVED"), always("")])


def unknown_meeting_statuses(connection: Connection, rng: Random) -> None:
    change(connection, rng, "meetings", "status", [always("POSTPONED")])


def unknown_roles(connection: Connection, rng: Random) -> None:
    change(connection, rng, "conversation_history", "role", [always("ROBOT"), always("")])


def numbers_as_text(connection: Connection, rng: Random) -> None:
    texts = [always(text) for text in ("12.5", "", "abc", " 90 ", "NaN")]
    change(connection, rng, "calls", "duration", texts, "ended_at IS NOT NULL")
    change(connection, rng, "meetings", "duration", [always("45"), always("half an hour")])


def numbers_in_text_columns(connection: Connection, rng: Random) -> None:
    change(connection, rng, "leads", "country_code", [always(972)])
    change(connection, rng, "calls", "language", [always(7.5)])
    change(connection, rng, "meetings", "guest_email", [always(42)])


def infinite_numbers(connection: Connection, rng: Random) -> None:
    change(connection, rng, "calls", "duration", [always(float("inf")), always(float("-inf"))])


def negative_durations(connection: Connection, rng: Random) -> None:
    change(connection, rng, "calls", "duration", [always(-1.0)])
    change(connection, rng, "meetings", "duration", [always(-30)])


def _add_partner(connection: Connection, rng: Random, name: str, **values: object) -> None:
    if has(connection, "partners"):
        row = {"api_key": f"{rng.getrandbits(256):064x}", "is_active": 1, "rate_limit": 100}
        stamps = {"created_at": _BORN, "updated_at": _BORN}
        add(connection, "partners", name=name, **{**row, **stamps, **values})


def text_booleans(connection: Connection, rng: Random) -> None:
    for text in ("true", "t", "False", "no"):
        _add_partner(connection, rng, f"Boolean {text}", is_active=text)


def null_booleans(connection: Connection, rng: Random) -> None:
    _add_partner(connection, rng, "Boolean missing", is_active=None)


def junk_booleans(connection: Connection, rng: Random) -> None:
    _add_partner(connection, rng, "Boolean junk", is_active="perhaps")


def duplicate_partner_names(connection: Connection, rng: Random) -> None:
    for _ in range(3):
        _add_partner(connection, rng, "Twice & Co.")


def empty_partner_names(connection: Connection, rng: Random) -> None:
    _add_partner(connection, rng, "")
    _add_partner(connection, rng, "  ")


def useless_rate_limits(connection: Connection, rng: Random) -> None:
    for limit in (0, -5, "60", "abc"):
        _add_partner(connection, rng, f"Limit {limit}", rate_limit=limit)


def empty_api_keys(connection: Connection, rng: Random) -> None:
    for key in ("", "", None):
        _add_partner(connection, rng, f"Keyless {rng.randrange(10**6)}", api_key=key)
