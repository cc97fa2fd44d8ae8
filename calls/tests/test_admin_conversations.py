from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from calls.admin import recording
from calls.models import Call, Turn
from leads.models import Lead
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

STARTED, ENDED = "2025-03-01T10:00Z", "2025-03-01T10:05Z"
UNSAFE = [
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "JAVASCRIPT:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "//evil.example.com/x",
    "https://",
    "https://[",
    "\x01https://example.com/",
    "recordings/7.mp3",
]


def call(*messages: str, **values: Any) -> Call:
    person = values.pop("lead", None) or Lead.objects.create(
        name=values.pop("name", "Anna"),
        phone=f"+1415555{Lead.objects.count():04}",
        status=values.pop("status", "contacted"),
    )
    row = Call.objects.create(**{"lead": person, "started_at": STARTED, "ended_at": ENDED} | values)
    Turn.objects.bulk_create(
        Turn(call=row, turn=turn, role="user", message=message) for turn, message in enumerate(messages, 1)
    )
    return row


def page_of(client: Client, row: Call, **parameters: str | int) -> str:
    return staff.page(client, staff.address(Call, "change", row.pk), **parameters)


def words_page(client: Client, **parameters: str | int) -> str:
    return staff.page(client, reverse("admin:calls_call_find_words"), **parameters)


def correct(
    client: Client, row: Call, outcome: str, reason: str = "Listened to it again", **more: str
) -> Any:
    path = reverse("admin:calls_call_correct_outcome", args=[row.pk])
    return client.post(path, {"confirmed": "yes", "outcome": outcome, "reason": reason} | more)


def state(row: Call) -> tuple[str | None, str]:
    row.refresh_from_db()
    return row.outcome, Lead.objects.get(pk=row.lead_id).status


def test_a_recording_is_played_and_the_page_allows_its_host_only(admin_client: Client) -> None:
    row = call(recording_url="https://media.Example.com:8443/7.mp3?a=1&b=2")

    answer = admin_client.get(staff.address(Call, "change", row.pk))

    policy = answer["Content-Security-Policy"]
    assert "media-src 'self' https://media.example.com:8443;" in policy and "https:;" not in policy
    assert 'src="https://media.Example.com:8443/7.mp3?a=1&amp;b=2"' in answer.content.decode()
    other = admin_client.get(staff.address(Call, "changelist"))
    assert "media-src 'self';" in other["Content-Security-Policy"]


@pytest.mark.parametrize("address", UNSAFE)
def test_an_address_that_is_none_of_the_web_is_text(admin_client: Client, address: str) -> None:
    html = page_of(admin_client, call(recording_url=address))

    assert "<audio" not in html
    assert "Open the recording" not in html
    assert "no web address" in html


def test_a_recording_over_plain_http_is_linked_and_not_played(admin_client: Client) -> None:
    html = page_of(admin_client, call(recording_url="http://example.com/7.mp3"))

    assert "<audio" not in html and '<a href="http://example.com/7.mp3" rel="noreferrer noopener"' in html


@pytest.mark.parametrize(
    "address",
    [
        "https://a.com;script-src *",
        "https://a.com, *",
        "https://*/x",
        "https://u:p@a.com/",
        "https://a.com:x/",
        *UNSAFE,
    ],
)
def test_no_address_adds_to_the_policy(address: str) -> None:
    found = recording.origin(address)

    assert found is None or found == "https://a.com"


def test_the_bubbles_name_role_and_time_and_take_their_direction_from_the_text(admin_client: Client) -> None:
    row = call(staff.HEBREW, staff.ARABIC, f"Anna {staff.HEBREW} 10:30", staff.SCRIPT)

    html = page_of(admin_client, row)

    for text in (staff.HEBREW, staff.ARABIC, f"Anna {staff.HEBREW} 10:30", staff.ESCAPED_SCRIPT):
        assert f'<p dir="auto">{text}</p>' in html
    assert html.count('<li id="turn-') == 4 and "2 · User · <time" in html


def test_a_turn_deep_in_a_call_of_ten_thousand_is_shown_with_its_words_marked(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    row = call(*(f"Word{number} and more" for number in range(1, 10_001)))

    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = page_of(admin_client, row, turn=7000, words="word7000")

    assert '<li id="turn-7000" class="user calls-sought" aria-current="true">' in html
    assert "<mark>Word7000</mark> and more" in html
    assert "Word6994 " not in html and "Word6995 " in html and "Word7494 " in html and "Word7495 " not in html
    assert "?turn=6500&amp;words=word7000" in html and "?turn=7500&amp;words=word7000" in html
    assert "Word6495 " in page_of(admin_client, row, turn=6500)
    assert "Word7495 " in page_of(admin_client, row, turn=7500)


@pytest.mark.parametrize("turn", ["0", "-1", "x", "9" * 18, "2147483648"])
def test_a_turn_that_is_none_breaks_no_page(admin_client: Client, turn: str) -> None:
    page_of(admin_client, call("Hello"), turn=turn, words='"(')


def test_words_are_found_marked_and_linked_to_their_turn(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    row = call("Hello", "Let us meet on Monday", name=staff.SCRIPT, outcome="interested")
    call(f"{staff.SCRIPT} monday")

    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = words_page(admin_client, q="monday")

    assert "Let us meet on <mark>Monday</mark>" in html
    assert f"/admin/calls/call/{row.pk}/change/?turn=2&amp;words=monday#turn-2" in html
    assert staff.SCRIPT not in html and staff.ESCAPED_SCRIPT in html
    assert "These are all." in html


def test_more_calls_than_a_page_holds_go_on_where_it_ended(admin_client: Client) -> None:
    person = call("x").lead
    for _ in range(30):
        call("monday", lead=person)

    html = words_page(admin_client, q="monday")
    older = Call.objects.order_by("-pk")[24].pk
    rest = words_page(admin_client, q="monday", below=older)

    assert html.count("<mark>") == 25 and f"?q=monday&amp;below={older}" in html
    assert rest.count("<mark>") == 5 and "These are all." in rest


def test_the_page_says_when_nothing_is_found_or_asked(admin_client: Client) -> None:
    call("Monday")

    assert "No call has these words." in words_page(admin_client, q="tuesday")
    assert "Give at least one word" in words_page(admin_client, q="-tuesday")
    assert "<mark>" not in words_page(admin_client)
    assert "autofocus" not in words_page(admin_client, q=staff.LONG, below="x")


def test_words_are_found_by_those_who_may_see_calls_and_turns() -> None:
    path = reverse("admin:calls_call_find_words")

    assert staff.staff_client("calls.view_call").get(path).status_code == 403
    assert staff.staff_client("calls.view_turn").get(path).status_code == 403
    assert staff.staff_client("calls.view_call", "calls.view_turn").get(path).status_code == 200
    assert Client().get(path).status_code == 302


def test_an_outcome_is_corrected_with_a_reason_and_the_history_has_both_rows(admin_client: Client) -> None:
    row = call(outcome="no_answer", status="no_answer")

    assert correct(admin_client, row, "interested").status_code == 302

    assert state(row) == ("interested", "contacted")
    written = {
        entry.content_type.model: entry.change_message
        for entry in LogEntry.objects.all()
        if entry.content_type
    }
    assert '"No Answer", "Interested"' in written["call"] and "Listened to it again" in written["call"]
    assert '"No Answer", "Contacted"' in written["lead"] and "Listened to it again" in written["lead"]


@pytest.mark.parametrize("status", ["meeting_scheduled", "not_interested", "queued"])
@pytest.mark.parametrize("outcome", ["no_answer", "busy", "interested", ""])
def test_a_correction_never_takes_a_status_off_a_lead_that_is_to_keep_it(
    admin_client: Client, status: str, outcome: str
) -> None:
    row = call(outcome="not_interested", status=status)

    correct(admin_client, row, outcome)

    assert state(row) == (outcome or None, status)


def test_the_lead_does_not_follow_a_call_that_is_not_its_newest(admin_client: Client) -> None:
    earlier = call(outcome="busy")
    call(lead=earlier.lead, started_at="2025-03-02T10:00Z", ended_at="2025-03-02T10:01Z")

    correct(admin_client, earlier, "no_answer")

    assert state(earlier) == ("no_answer", "contacted")


def test_a_correction_asks_first_and_wants_a_reason(admin_client: Client) -> None:
    row = call(outcome="busy")

    assert "Correct the outcome" in staff.page(
        admin_client, reverse("admin:calls_call_correct_outcome", args=[row.pk])
    )
    assert correct(admin_client, row, "interested", " ").status_code == 200
    assert correct(admin_client, row, "interested", confirmed="").status_code == 200
    assert correct(admin_client, row, "unheard of").status_code == 200
    assert state(row) == ("busy", "contacted") and not LogEntry.objects.exists()


def test_a_call_that_is_going_on_is_not_corrected(admin_client: Client) -> None:
    row = call(ended_at=None, status="calling")

    correct(admin_client, row, "interested")

    assert state(row) == (None, "calling")


def test_only_those_who_may_change_calls_correct_them_and_no_form_does(admin_client: Client) -> None:
    row = call(outcome="busy")

    assert correct(staff.staff_client("calls.view_call"), row, "interested").status_code == 403
    assert correct(admin_client, Call(pk=99), "interested").status_code == 404
    staff.edit(admin_client, row, outcome="interested")
    assert state(row) == ("busy", "contacted")
