"""References to nothing, and several rows where there should be one."""

from random import Random
from sqlite3 import Connection

from legacy.synthetic.dirt.picking import add, always, cells, change, has, pick, put

# Far above every real id, yet an id an old file may have had.
MISSING = 900_000_000


def turns_without_call(connection: Connection, rng: Random) -> None:
    change(connection, rng, "conversation_history", "call_id", [always(MISSING + 17)])


def calls_without_lead(connection: Connection, rng: Random) -> None:
    # Their turns and meetings lose their call as well, once the call is rejected.
    change(connection, rng, "calls", "lead_id", [always(MISSING + 18)])


def meetings_without_lead(connection: Connection, rng: Random) -> None:
    change(connection, rng, "meetings", "lead_id", [always(MISSING + 19)])


def meetings_of_missing_call(connection: Connection, rng: Random) -> None:
    change(connection, rng, "meetings", "call_id", [always(MISSING + 20)])


def leads_of_missing_partner(connection: Connection, rng: Random) -> None:
    change(connection, rng, "leads", "partner_id", [always(MISSING + 21)])


def several_active_calls(connection: Connection, rng: Random) -> None:
    # The unique index that forbids this is missing in the relaxed tables, as in files of before revision 6.
    for row in pick(connection, rng, "calls", where="ended_at IS NOT NULL"):
        lead, started = cells(connection, "calls", row, "lead_id", "started_at")
        for _ in range(2):
            sid = f"CA{rng.getrandbits(128):032x}"
            values = {"lead_id": lead, "started_at": started, "created_at": started[:19], "outcome": "BUSY"}
            call = add(connection, "calls", twilio_call_sid=sid, **values)
            turn = {"role": "AI", "message": "Hello?", "created_at": started[:19]}
            add(connection, "conversation_history", call_id=call, **turn)


def leads_stuck_in_calling(connection: Connection, rng: Random) -> None:
    idle = "NOT EXISTS (SELECT 1 FROM calls c WHERE c.lead_id = leads.id AND c.ended_at IS NULL)"
    change(connection, rng, "leads", "status", [always("CALLING")], idle)


def overlapping_meetings(connection: Connection, rng: Random) -> None:
    rows = pick(connection, rng, "meetings", where="status IN ('SCHEDULED', 'CONFIRMED')")
    for row in rows:
        lead, call, when, made = cells(
            connection, "meetings", row, "lead_id", "call_id", "scheduled_time", "created_at"
        )
        # Ten minutes later is still within the half hour.
        later = f"{when[:14]}{int(when[14:16]) + 10}{when[16:]}"
        times = {"scheduled_time": later, "created_at": made, "updated_at": made}
        add(connection, "meetings", lead_id=lead, call_id=call, status="SCHEDULED", duration=30, **times)


def duplicate_call_sids(connection: Connection, rng: Random) -> None:
    _duplicate(connection, rng, "calls", "twilio_call_sid")


def duplicate_event_ids(connection: Connection, rng: Random) -> None:
    _duplicate(connection, rng, "meetings", "calendar_event_id")


def _duplicate(connection: Connection, rng: Random, table: str, column: str) -> None:
    rows = pick(connection, rng, table, least=2, where=f"{column} IS NOT NULL")
    for first, second in zip(rows[::2], rows[1::2], strict=False):
        put(connection, table, second, column, cells(connection, table, first, column)[0])


def duplicate_setting_keys(connection: Connection, rng: Random) -> None:
    if has(connection, "settings"):
        for day in (3, 9):
            value = {"value": f"You are assistant number {day}.", "updated_at": f"2025-02-0{day} 09:00:00"}
            add(connection, "settings", key="system_prompt_en", **value)
