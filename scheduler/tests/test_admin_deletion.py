"""Deleting in the admin: asked first, with what goes and what forbids it, however much that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from calls.models import Call, Turn
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from scheduler.models import Setting
from scheduler.staff.history import told
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

ENDED = "2099-01-01T00:00Z"
YES = {"confirmed": "yes"}


@pytest.fixture
def lead() -> Lead:
    return Lead.objects.create(name="Ada", phone="+14155550100")


@pytest.fixture
def call(lead: Lead) -> Call:
    return Call.objects.create(lead=lead, ended_at=ENDED)


def asked(client: Client, row: Any) -> str:
    return staff.page(client, staff.address(type(row), "delete", row.pk))


def choose(client: Client, model: Any, rows: list[Any], **more: str) -> str:
    data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows], **more}
    return client.post(staff.address(model, "changelist"), data, follow=True).content.decode()


def test_ten_thousand_turns_are_told_by_their_number(admin_client: Client, call: Call) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversation_history (call_id, turn, role, message)"
            " SELECT %s, n, 'user', 'unspeakable' FROM generate_series(1, 10000) n",
            [call.pk],
        )
    html = asked(admin_client, call)

    assert "10,000 turns go with it." in html
    assert "unspeakable" not in html and len(html) < 100_000
    assert staff.queries_of(admin_client, staff.address(Call, "delete", call.pk)) <= staff.MOST_QUERIES
    admin_client.post(staff.address(Call, "delete", call.pk), YES)
    assert not Call.objects.exists() and not Turn.objects.exists()


def test_nothing_goes_before_somebody_says_yes(admin_client: Client, call: Call) -> None:
    path = staff.address(Call, "delete", call.pk)

    for data in ({}, {"post": "yes"}, {"confirmed": "no"}):
        assert "Delete the call" in admin_client.post(path, data).content.decode()

    assert Call.objects.exists() and not LogEntry.objects.exists()
    admin_client.post(path, YES)
    entry = LogEntry.objects.get(action_flag=DELETION)
    assert entry.object_id == str(call.pk)
    assert ("Lead", "-", f"Ada ({call.lead_id})") in [tuple(each) for each in told(entry).changes]


def test_chosen_rows_are_deleted_after_a_question(admin_client: Client) -> None:
    rows = [Setting.objects.create(key=f"key {number}", value="1") for number in range(3)]

    assert "Delete 2 settings?" in choose(admin_client, Setting, rows[:2])
    assert Setting.objects.count() == 3
    assert "Deleted 2 settings." in choose(admin_client, Setting, rows[:2], **YES)

    assert list(Setting.objects.all()) == [rows[2]]
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 2


def test_an_active_call_is_not_deleted(admin_client: Client, lead: Lead) -> None:
    call = Call.objects.create(lead=lead)

    html = admin_client.post(staff.address(Call, "delete", call.pk), YES).content.decode()
    assert "A call that is going on cannot be deleted" in html and ">Delete<" not in html
    choose(admin_client, Call, [call], **YES)

    assert Call.objects.exists()


def test_a_host_whose_meetings_would_be_lost_is_not_deleted(admin_client: Client, lead: Lead) -> None:
    host = MeetingHost.objects.create(name="Ines", timezone="UTC")
    for hour in (10, 11):
        Meeting.objects.create(lead=lead, host=host, scheduled_time=f"2099-01-01T{hour}:00Z")

    html = admin_client.post(staff.address(MeetingHost, "delete", host.pk), YES).content.decode()

    assert "2 meetings refer to it, so nothing can be deleted." in html
    assert MeetingHost.objects.filter(pk=host.pk).exists()


def test_meetings_stay_when_the_call_that_made_them_goes(admin_client: Client, call: Call) -> None:
    host = MeetingHost.objects.create(name="Ines", timezone="UTC")
    meeting = Meeting.objects.create(lead=call.lead, call=call, host=host, scheduled_time="2099-01-01T10:00Z")

    assert "1 meeting stays, with no call any more." in asked(admin_client, call)
    admin_client.post(staff.address(Call, "delete", call.pk), YES)

    meeting.refresh_from_db()
    assert meeting.call_id is None


def test_more_than_a_thousand_are_not_deleted_at_once(admin_client: Client) -> None:
    Setting.objects.bulk_create(Setting(key=f"key {number}", value="1") for number in range(1001))

    html = choose(admin_client, Setting, [Setting.objects.first()], select_across="1", **YES)

    assert "At most 1,000 can be deleted at once." in html
    assert Setting.objects.count() == 1001


def test_who_may_not_delete_turns_deletes_no_call_that_has_some(call: Call) -> None:
    client = staff.staff_client("calls.view_call", "calls.delete_call")
    Turn.objects.create(call=call, turn=1, role="ai", message="Hello")

    html = client.post(staff.address(Call, "delete", call.pk), YES).content.decode()

    assert "You have no right to delete turns." in html
    assert Call.objects.exists()
    Turn.objects.all().delete()
    client.post(staff.address(Call, "delete", call.pk), YES)
    assert not Call.objects.exists()


def test_who_may_not_delete_is_refused(call: Call) -> None:
    client = staff.staff_client("calls.view_call", "calls.change_call")

    assert client.post(staff.address(Call, "delete", call.pk), YES).status_code == 403
    assert 'value="delete_selected"' not in staff.page(client, staff.address(Call, "changelist"))
    assert Call.objects.exists()


def test_a_user_whose_deeds_are_in_the_history_is_not_deleted(admin_client: Client, lead: Lead) -> None:
    ben, eva = (User.objects.create_superuser(name) for name in ("ben", "eva"))
    LogEntry.objects.log_actions(ben.pk, [lead], 2, "Changed", single_object=True)

    html = staff.page(admin_client, staff.address(User, "delete", ben.pk))
    assert "History of what ben did: make the user inactive instead" in html
    for user in (ben, eva):
        admin_client.post(staff.address(User, "delete", user.pk), {"post": "yes"})

    assert list(User.objects.filter(username__in=["ben", "eva"])) == [ben]
    assert LogEntry.objects.filter(user=ben).exists()
