"""Text that breaks readers, and phone numbers as people type them."""

from random import Random
from sqlite3 import Connection

from legacy.synthetic.dirt.picking import Maker, always, cells, change, pick, put
from legacy.synthetic.people import COUNTRIES

_PLACES = (
    ("leads", "name"),
    ("calls", "transcript"),
    ("conversation_history", "message"),
)


def _everywhere(connection: Connection, rng: Random, maker: Maker) -> None:
    for table, column in _PLACES:
        change(connection, rng, table, column, [maker], f"{column} IS NOT NULL")


def nul_bytes(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: f"{old[:3]}\0{old[3:]}")


def lone_surrogates(connection: Connection, rng: Random) -> None:
    # Half of an emoji, as a JavaScript client cuts it.
    _everywhere(connection, rng, lambda old: old.encode()[:200] + b" \xed\xa0\xbd")


def invalid_utf8(connection: Connection, rng: Random) -> None:
    _everywhere(connection, rng, lambda old: b"caf\xe9 \xff\xfe " + old.encode()[:200])


def very_long_text(connection: Connection, rng: Random) -> None:
    change(connection, rng, "leads", "name", [lambda old: old + " van der Long" * 400])
    change(connection, rng, "leads", "email", [always("x" * 300 + "@example.com")])
    # One transcript of a megabyte is enough; more would only make the file big.
    for row in pick(connection, rng, "calls", where="transcript IS NOT NULL")[:1]:
        put(connection, "calls", row, "transcript", "blah, blah. " * 90_000)
    change(connection, rng, "calls", "voice_name", [always("Rachel " * 100)])


def _spellings(phone: str) -> list[str]:
    """Write an E.164 number in the ways people do; each still names the same number."""
    dial = next(c.dial for c in COUNTRIES if phone.startswith(f"+{c.dial}"))
    local = phone[1 + len(dial) :]
    grouped = f"{local[:3]}-{local[3:6]}-{local[6:]}"
    return [
        f"+{dial} ({local[:3]}) {local[3:6]}-{local[6:]}",
        f"00{dial} {local[:2]} {local[2:5]} {local[5:]}" if dial != "1" else f"1 {grouped}",
        f"  +{dial} {grouped} ",
        f"tel:+{dial}-{grouped}",
        f"+{dial}.{local[:3]}.{local[3:]}",
        grouped if dial in ("1", "39") else f"0{grouped}",
    ]


def phones_in_any_spelling(connection: Connection, rng: Random) -> None:
    def spelled(form: int) -> Maker:
        return lambda old: _spellings(old)[form]

    change(connection, rng, "leads", "phone", [spelled(form) for form in range(6)])


def leads_sharing_a_number(connection: Connection, rng: Random) -> None:
    rows = pick(connection, rng, "leads", least=4)
    for number in range(0, len(rows) - 1, 2):
        (phone,) = cells(connection, "leads", rows[number], "phone")
        # Every second pair is the very same text, which the index of the application would have refused.
        twin = phone if number % 4 else _spellings(phone)[0]
        put(connection, "leads", rows[number + 1], "phone", twin)


def junk_phones(connection: Connection, rng: Random) -> None:
    junk = ("call me!", "12345", "+999123456789", "555-CALL-NOW", "+1 415 555 0134 ext. x")
    change(connection, rng, "leads", "phone", [always(text) for text in junk])


def empty_phones(connection: Connection, rng: Random) -> None:
    change(connection, rng, "leads", "phone", [always(""), always("   ")])
