"""The history tells what staff changed: the values before and after, for single rows and many."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call
from leads import tombstones
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from partners.models import Partner
from scheduler.models import Setting
from scheduler.staff import history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


def lead(number: int = 0, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def lines(entry: LogEntry) -> list[tuple[str, ...]]:
    return [tuple(each) for each in history.told(entry).changes]


def newest() -> LogEntry:
    return LogEntry.objects.latest("pk")


@pytest.fixture
def request_of_staff(rf: RequestFactory, admin_user: User) -> Any:
    request = rf.post("/")
    request.user = admin_user
    return request


def test_an_edit_tells_each_column_before_and_after(admin_client: Client) -> None:
    acme = Partner.objects.create(name="Acme")
    row = lead(1, email="old@example.com")

    answer = staff.edit(
        admin_client, row, name="Anna", email="", partner=str(acme.pk), priority="3", status="queued"
    )

    assert answer.status_code == 302
    assert set(lines(newest())) == {
        ("Name", "Lead 1", "Anna"),
        ("Email", "old@example.com", "-"),
        ("Partner", "-", f"Acme ({acme.pk})"),
        ("Priority", "0", "3"),
        ("Status", "Pending", "Queued"),
    }


def test_what_the_form_derives_is_told_too(admin_client: Client) -> None:
    row = lead(1, phone_valid=False)

    staff.edit(admin_client, row, phone="(415) 555-0134", country_code="US")

    assert ("Phone", "+14155550001", "+14155550134") in lines(newest())
    assert ("Phone valid", "no", "yes") in lines(newest())


def test_the_value_before_is_that_of_the_database_and_not_of_the_page(admin_client: Client) -> None:
    row = lead(1)
    path = staff.address(Lead, "change", row.pk)
    data = staff.sent(admin_client.get(path).context["adminform"].form)
    Lead.objects.filter(pk=row.pk).update(name="By somebody else")

    admin_client.post(path, {**data, "name": "Mine"})

    assert lines(newest()) == [("Name", "By somebody else", "Mine")]


def test_saving_without_a_change_changes_nothing_in_the_history(admin_client: Client) -> None:
    staff.edit(admin_client, lead(1))

    assert lines(newest()) == []


def test_what_a_form_only_carries_along_is_no_change(admin_client: Client) -> None:
    row = lead(1)
    host = MeetingHost.objects.create(name="Ines", timezone="UTC")
    moment = timezone.now().replace(microsecond=123456)
    meeting = Meeting.objects.create(lead=row, host=host, scheduled_time=moment + timedelta(days=3))
    call = Call.objects.create(lead=row, started_at=moment, ended_at=moment + timedelta(seconds=5))
    user = User.objects.create_user("ben", is_staff=True, date_joined=moment)

    staff.edit(admin_client, meeting, guest_email="ann@example.com")
    assert lines(newest()) == [("Guest email", "-", "ann@example.com")]
    staff.edit(admin_client, call, language="he")
    assert lines(newest()) == [("Language", "-", "he")]
    staff.edit(admin_client, user, email="ben@example.com")
    assert lines(newest()) == [("Email address", "-", "ben@example.com")]
    staff.edit(admin_client, meeting)
    assert lines(newest()) == []


def test_what_a_worker_wrote_meanwhile_is_not_told_as_the_user_s(admin_client: Client) -> None:
    row = lead(1)
    path = staff.address(Lead, "change", row.pk)
    data = staff.sent(admin_client.get(path).context["adminform"].form)
    Lead.objects.filter(pk=row.pk).update(status="no_answer", priority=7)

    admin_client.post(path, {**data, "name": "Mine"})

    assert lines(newest()) == [("Name", "Lead 1", "Mine")]
    row.refresh_from_db()
    assert (row.status, row.priority) == ("no_answer", 7)


def test_what_is_derived_while_saving_is_told(admin_client: Client) -> None:
    tombstones.keep(["+14155550134"])
    row = lead(1)

    staff.edit(admin_client, row, phone="+14155550134")

    assert set(lines(newest())) >= {("Phone", row.phone, "+14155550134"), ("Do not call", "no", "yes")}


def test_two_values_that_read_alike_are_no_change(request_of_staff: Any) -> None:
    moment = timezone.now().replace(microsecond=0)
    row = lead(1, next_attempt_at=moment)

    history.update_rows(
        request_of_staff, Lead.objects.all(), next_attempt_at=moment + timedelta(milliseconds=5)
    )

    row.refresh_from_db()
    assert row.next_attempt_at == moment + timedelta(milliseconds=5)
    assert history.changes_between({"email": "", "next_attempt_at": moment}, row) == []
    assert not LogEntry.objects.exists()


def test_an_added_and_a_deleted_row_keep_their_values(admin_client: Client) -> None:
    staff.add(admin_client, Setting, key="voice", value="Adam")
    assert set(lines(newest())) == {("ID", "-", str(Setting.objects.get().pk)), *_voice()}

    admin_client.post(staff.address(Setting, "delete", Setting.objects.get().pk), {"confirmed": "yes"})

    assert not Setting.objects.exists()
    assert newest().is_deletion()
    assert _voice() <= set(lines(newest()))


def _voice() -> set[tuple[str, str, str]]:
    return {("Key", "-", "voice"), ("Value", "-", "Adam")}


def test_long_texts_are_cut_to_where_they_differ(admin_client: Client) -> None:
    setting = Setting.objects.create(key="prompt", value="same " * 500 + "old end")

    staff.edit(admin_client, setting, value="same " * 500 + "fresh end")

    ((_, before, after),) = lines(newest())
    assert before.endswith("old end") and after.endswith("fresh end")
    assert before.startswith("…") and max(len(before), len(after)) <= history.SHOWN_CHARACTERS + 2


def test_passwords_are_never_in_the_history(admin_client: Client) -> None:
    user = User.objects.create_user("anna", password="first-secret-1")
    path = f"/admin/auth/user/{user.pk}/password/"
    data = {"password1": "second-secret-2", "password2": "second-secret-2", "usable_password": "true"}

    assert admin_client.post(path, data).status_code == 302
    staff.add(admin_client, User, username="ben", password1="third-secret-3", password2="third-secret-3")

    user.refresh_from_db()
    assert user.check_password("second-secret-2") and User.objects.filter(username="ben").exists()
    kept = "".join(LogEntry.objects.values_list("change_message", flat=True))
    assert "secret-" not in kept and user.password not in kept and "md5$" not in kept


def test_groups_of_a_user_are_told(admin_client: Client) -> None:
    group = Group.objects.create(name="Night shift")
    user = User.objects.create_user("anna", is_staff=True)

    answer = staff.edit(admin_client, user, groups=[group.pk])

    assert answer.status_code == 302
    assert ("Groups", "-", "Night shift") in lines(newest())


def test_the_page_of_the_history_shows_values_as_text(admin_client: Client) -> None:
    row = lead(1)
    staff.edit(admin_client, row, name=staff.SCRIPT)

    html = staff.page(admin_client, staff.address(Lead, "history", row.pk))

    assert staff.ESCAPED_SCRIPT in html and staff.SCRIPT not in html
    assert "Changed Name." in html and ">Lead 1</td>" in html


def test_entries_that_django_wrote_before_are_still_read() -> None:
    for text in ('[{"changed": {"fields": ["Name"]}}]', "Revoked the token", "", "[not json", '["x"]'):
        entry = LogEntry(change_message=text, action_flag=3)
        assert history.told(entry).changes == [], text


def test_a_bulk_update_logs_each_row_in_few_statements(request_of_staff: Any) -> None:
    for number in range(40):
        lead(number, status="queued" if number < 10 else "pending")
    with CaptureQueriesContext(connection) as queries:
        changed = history.update_rows(
            request_of_staff, Lead.objects.all(), "A campaign", status="queued", updated_at=Now()
        )

    assert changed == 30 == LogEntry.objects.count()
    assert Lead.objects.filter(status="queued").count() == 40
    assert {each for entry in LogEntry.objects.all() for each in lines(entry)} == {
        ("Status", "Pending", "Queued")
    }
    assert history.told(newest()).note == "A campaign"
    assert len(queries) <= 7


def test_a_bulk_update_goes_on_behind_its_first_batch(request_of_staff: Any, monkeypatch) -> None:
    monkeypatch.setattr(history, "BATCH", 3)
    for number in range(10):
        lead(number)

    changed = history.update_rows(
        request_of_staff, Lead.objects.select_related("partner").filter(status="pending"), status="queued"
    )

    assert changed == 10 == LogEntry.objects.count()


def test_the_history_of_an_erased_row_keeps_no_name(request_of_staff: Any) -> None:
    kept, erased = lead(1, name="Ben"), lead(2, name="Anna")
    history.update_rows(request_of_staff, Lead.objects.all(), "Anna asked", email="anna@example.com")

    assert history.forget(Lead, [erased.pk]) == 1

    entry = LogEntry.objects.get(object_id=str(erased.pk))
    assert "nna" not in f"{entry.object_repr} {entry.change_message}"
    assert lines(LogEntry.objects.get(object_id=str(kept.pk)))


def test_a_message_is_readable_for_django_s_own_pages(admin_client: Client) -> None:
    staff.edit(admin_client, lead(1), name="Anna")

    assert newest().get_change_message() == "Changed Name."
    assert json.loads(newest().change_message)[0]["changed"]["fields"] == ["Name"]
