import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client

from calls.models import Call, Turn
from leads.models import Lead
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

START = "2025-03-01T09:00:00Z"
END = "2025-03-01T09:01:00Z"


def lead(number: int = 0, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def call(number: int = 0, **values: Any) -> Call:
    row = values.pop("lead", None) or lead(number)
    return Call.objects.create(**{"lead": row, "started_at": START, "ended_at": END, **values})


def turn(of: Call, number: int = 1, **values: Any) -> Turn:
    return Turn.objects.create(**{"call": of, "turn": number, "role": "ai", "message": "Hello", **values})


def test_every_page_of_calls_and_turns_opens_with_awkward_texts(admin_client: Client) -> None:
    for number, text in enumerate(staff.NASTY):
        row = call(
            lead=lead(number, name=text),
            transcript=text,
            summary=text,
            voice_name=text,
            language=text,
            recording_url=text,
            outcome=Call.Outcome.values[number % 4],
            duration=61.5,
        )
        for position, role in enumerate(Turn.Role.values, start=1):
            turn(row, position, role=role, message=text)
    staff.check_pages_open(admin_client, Call, "415 555 0001", "CA1", "1", "9" * 30)
    staff.check_pages_open(admin_client, Turn, "1", "0", "9" * 30)

    for model in (Call, Turn):
        assert staff.ESCAPED_SCRIPT in staff.page(admin_client, staff.address(model, "changelist"))


def test_the_lists_make_no_query_per_row(admin_client: Client) -> None:
    staff.check_lists_have_no_query_per_row(admin_client, Call, call)
    staff.check_lists_have_no_query_per_row(
        admin_client, Turn, lambda number: turn(call(100 + number), message=staff.LONG)
    )


def test_the_few_turns_of_the_system_are_found_by_an_index() -> None:
    row = call()
    Turn.objects.bulk_create(
        Turn(call=row, turn=number, role="system" if number % 500 == 0 else "user", message="Hello")
        for number in range(1, 3001)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversation_history")
        cursor.execute("SET LOCAL enable_seqscan = off")
    rows = Turn.objects.filter(role="system").order_by("-id")

    assert "Index Scan using conversation_history_system" in rows[:51].explain()
    assert "conversation_history_system" in rows.order_by().values_list("pk")[:100_001].explain()


def test_calls_and_turns_are_closed_to_staff_without_permissions() -> None:
    row = call()

    staff.check_closed_to_staff_without_permissions(Call, row)
    staff.check_closed_to_staff_without_permissions(Turn, turn(row))


def test_the_page_of_a_call_shows_its_turns_as_text_in_order(
    admin_client: Client, django_assert_max_num_queries
) -> None:
    row = call(transcript=staff.HEBREW, summary=staff.LONG)
    for number, text in enumerate([*staff.NASTY, *["more"] * 30], start=1):
        turn(row, number, message=text, role=Turn.Role.values[number % 3])
    path = staff.address(Call, "change", row.pk)
    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = staff.page(admin_client, path)

    assert staff.SCRIPT not in html
    assert f'<p dir="auto">{staff.ESCAPED_SCRIPT}</p>' in html
    assert f'<p dir="auto">{staff.HEBREW}</p>' in html
    assert f'<p dir="auto">{staff.LONG}</p>' in html
    assert html.index(staff.ESCAPED_SCRIPT) < html.index(f">{staff.ARABIC}<")
    assert 'dir="auto"' in html[html.index('<textarea name="transcript"') :].partition(">")[0]


def test_a_very_long_conversation_goes_on_in_the_list_of_turns(admin_client: Client) -> None:
    row = call()
    turns = (Turn(call=row, turn=number, role="user", message=f"Turn {number}.") for number in range(1, 602))
    Turn.objects.bulk_create(turns)

    html = staff.page(admin_client, staff.address(Call, "change", row.pk))

    assert "Turn 500.</p>" in html and "Turn 501.</p>" not in html
    assert f"?call__id__exact={row.pk}" in html
    listed = staff.page(admin_client, staff.address(Turn, "changelist"), call__id__exact=row.pk)
    assert listed.index("Turn 1.<") < listed.index("Turn 2.<")


def test_the_list_shows_the_beginning_of_a_long_turn(admin_client: Client) -> None:
    turn(call(), message=staff.LONG)

    html = staff.page(admin_client, staff.address(Turn, "changelist"))

    assert f"{staff.LONG[:160]}…" in html
    assert staff.LONG[:300] not in html


@pytest.mark.parametrize("typed", ["415 555 0134", "(415) 555-0134", "lead 134", "CA134"])
def test_a_call_is_found_by_its_lead_and_its_sid(admin_client: Client, typed: str) -> None:
    wanted = call(134, twilio_call_sid="CA134")
    call(135, twilio_call_sid="CA135")

    assert staff.ids_listed(admin_client, Call, q=typed) == {wanted.pk}


def test_calls_are_filtered_by_state_outcome_and_lead(admin_client: Client) -> None:
    active = call(1, ended_at=None)
    ended = call(2, outcome="interested")

    assert staff.ids_listed(admin_client, Call, state="active") == {active.pk}
    assert staff.ids_listed(admin_client, Call, state="ended") == {ended.pk}
    assert staff.ids_listed(admin_client, Call, outcome__exact="interested") == {ended.pk}
    assert staff.ids_listed(admin_client, Call, lead__id__exact=active.lead_id) == {active.pk}


def test_the_column_of_outcomes_does_not_break_its_words(admin_client: Client) -> None:
    call(outcome="interested")

    html = staff.page(admin_client, staff.address(Call, "changelist"), outcome__exact="interested")

    assert re.search(
        r'<td class="field-result [^>]*><span class="staff-label [^"]*">Interested</span></td>', html
    )
    styles = finders.find("staff/staff.css")
    assert styles and "staff/staff.css" in html
    (rule,) = (line for line in Path(styles).read_text().splitlines() if line.startswith(".staff-label {"))
    assert "white-space: nowrap" in rule


def test_a_call_is_added_and_edited(admin_client: Client) -> None:
    person = lead()
    assert staff.add(admin_client, Call, lead=str(person.pk)).status_code == 302
    row = Call.objects.get()
    assert staff.edit(admin_client, row, transcript=staff.SCRIPT, duration="12.5").status_code == 302

    row.refresh_from_db()
    assert (row.lead, row.transcript, row.duration, row.ended_at) == (person, staff.SCRIPT, 12.5, None)


def test_a_second_active_call_of_a_lead_is_refused(admin_client: Client) -> None:
    active = call(1, ended_at=None)
    ended = call(lead=active.lead)
    sentence = ["This lead has an active call already; give this one an end."]

    added = staff.add(admin_client, Call, lead=str(active.lead_id))
    edited = staff.edit(admin_client, ended, ended_at_0="", ended_at_1="")

    assert staff.errors_of(added) == staff.errors_of(edited) == {"ended_at": sentence}


def test_a_call_cannot_end_before_it_starts(admin_client: Client) -> None:
    errors = staff.errors_of(staff.edit(admin_client, call(), ended_at_0="2025-02-28"))

    assert errors == {"ended_at": ["A call cannot end before it starts."]}


def test_the_sid_of_another_call_is_refused_and_an_empty_one_is_not(admin_client: Client) -> None:
    call(1, twilio_call_sid="CA1")
    call(2)
    third = call(3, twilio_call_sid="CA3")

    errors = staff.errors_of(staff.edit(admin_client, third, twilio_call_sid="CA1"))

    assert errors == {"twilio_call_sid": ["Another call has this SID."]}
    assert staff.edit(admin_client, third, twilio_call_sid="").status_code == 302


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("duration", "-1"),
        ("duration", "nan"),
        ("duration", "inf"),
        ("duration", "1e400"),
        ("lead", "0"),
        ("lead", ""),
        ("lead", "x"),
        ("started_at_0", ""),
        ("ended_at_1", "25:00"),
    ],
)
def test_a_value_that_is_none_is_refused_beside_its_field(
    admin_client: Client, field: str, text: str
) -> None:
    errors = staff.errors_of(staff.edit(admin_client, call(), **{field: text}))

    assert field.removesuffix("_0").removesuffix("_1") in errors


def test_a_turn_with_a_number_that_is_taken_or_below_one_is_refused(admin_client: Client) -> None:
    row = call()
    turn(row, 1)
    second = turn(row, 2)

    taken = staff.errors_of(staff.edit(admin_client, second, turn="1"))
    below = staff.errors_of(staff.edit(admin_client, second, turn="0"))

    assert taken == {"turn": ["The call has a turn with this number already."]}
    assert below == {"turn": ["Turns count from 1."]}
    assert staff.edit(admin_client, second, message=staff.ARABIC).status_code == 302
