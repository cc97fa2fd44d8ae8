"""Who may be called: the queue takes those who may, and only with a reason somebody is never called, or again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from leads import tombstones
from leads.models import ErasedPhone, Lead
from scheduler.models import StaffToken
from scheduler.staff import groups, history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

LIST = "/admin/leads/lead/"
CONFIRMED = {"confirmed": "yes", "reason": "She wrote to us"}


def lead(number: int = 0, **values: Any) -> Lead:
    return Lead.objects.create(
        **{"name": f"Lead {number}", "phone": f"+1415555{number:04}", "phone_valid": True, **values}
    )


def run(client: Client, action: str, *rows: Lead, **values: str) -> str:
    data = {"action": action, "_selected_action": [row.pk for row in rows], **values}
    return client.post(LIST, data, follow=True).content.decode()


def on_page(client: Client, action: str, row: Lead, **values: str) -> Any:
    return client.post(reverse(f"admin:leads_lead_{action}", args=[row.pk]), values, follow=True)


def told() -> tuple[str, list[tuple[str, ...]]]:
    entry = history.told(LogEntry.objects.get())
    return entry.note, [tuple(each) for each in entry.changes]


@pytest.fixture
def agent() -> Client:
    staff.make_groups()
    return staff.member(groups.AGENT)


@pytest.fixture
def supervisor() -> Client:
    staff.make_groups()
    return staff.member(groups.SUPERVISOR)


def test_the_queue_takes_those_who_may_be_called_and_names_the_others_by_number(admin_client: Client) -> None:
    ready = [lead(number, status=status) for number, status in enumerate(["pending", "contacted", "failed"])]
    first = lead(10, status="queued")
    others = [
        first,
        lead(11, status="calling"),
        lead(12, status="not_interested"),
        lead(13, status="not_interested", do_not_call=True),
        lead(14, status="meeting_scheduled"),
        lead(15, phone=first.phone, duplicate_of=first),
        lead(16, do_not_call=True),
        lead(17, phone_valid=False),
    ]

    html = run(admin_client, "queue", *ready, *others)

    assert "Queued 3 leads." in html
    assert (
        "8 leads were left: 2 not interested; 1 with a meeting; 2 queued or on a call already; 1 a duplicate; "
        "1 marked as not to be called; 1 without a valid phone number." in html
    )
    assert set(Lead.objects.filter(status="queued")) == {*ready, first}
    assert "were left" not in run(admin_client, "queue", lead(18))


def test_no_form_changes_whether_a_lead_is_called(admin_client: Client) -> None:
    for number, is_stopped in enumerate([True, False]):
        row = lead(number, do_not_call=is_stopped)
        path = staff.address(Lead, "change", row.pk)
        data = staff.sent(admin_client.get(path).context["adminform"].form)
        sent = {**data, "name": "Anna", **({} if is_stopped else {"do_not_call": "on"})}

        assert admin_client.post(path, sent).status_code == 302

        row.refresh_from_db()
        assert (row.name, row.do_not_call) == ("Anna", is_stopped)


def test_an_agent_stops_calls_with_a_reason_on_the_page_of_the_lead(agent: Client) -> None:
    row = lead()

    asked = on_page(agent, "stop_one", row).content.decode()
    assert "Never call this lead again?" in asked and not Lead.objects.get().do_not_call
    assert "This field is required." in on_page(agent, "stop_one", row, confirmed="yes").content.decode()
    on_page(agent, "stop_one", row, **CONFIRMED)

    assert Lead.objects.get().do_not_call
    assert told() == ("She wrote to us", [("Do not call", "no", "yes")])


def test_an_agent_lets_nobody_be_called_again(agent: Client) -> None:
    row = lead(do_not_call=True)

    run(agent, "recall", row, **CONFIRMED)
    assert on_page(agent, "recall_one", row, **CONFIRMED).status_code == 403

    assert Lead.objects.get().do_not_call and not LogEntry.objects.exists()
    assert 'value="recall"' not in staff.page(agent, LIST)


def test_a_supervisor_lets_leads_be_called_again_with_a_reason(supervisor: Client) -> None:
    row, other = lead(1, do_not_call=True), lead(2)

    assert "Let these 2 leads be called again?" in run(supervisor, "recall", row, other)
    assert Lead.objects.filter(do_not_call=True).get() == row
    assert "1 leads may be called again." in run(supervisor, "recall", row, other, **CONFIRMED)

    assert not Lead.objects.filter(do_not_call=True).exists()
    assert told() == ("She wrote to us", [("Do not call", "yes", "no")])


def test_a_supervisor_lets_a_lead_be_called_again_on_its_page(supervisor: Client) -> None:
    row = lead(do_not_call=True)

    assert "Let this lead be called again?" in on_page(supervisor, "recall_one", row).content.decode()
    on_page(supervisor, "recall_one", row, **CONFIRMED)

    assert not Lead.objects.get().do_not_call
    assert told() == ("She wrote to us", [("Do not call", "yes", "no")])


@pytest.mark.parametrize("way", [run, on_page])
def test_the_phone_of_an_erased_person_is_never_called_again(supervisor: Client, way: Any) -> None:
    row, other = lead(1, do_not_call=True), lead(2, do_not_call=True)
    tombstones.keep([row.phone])

    if way is run:
        html = run(supervisor, "recall", row, other, **CONFIRMED)
        assert "1 leads may be called again." in html
    else:
        html = on_page(supervisor, "recall_one", row, **CONFIRMED).content.decode()

    assert "1 leads were left: their phone is that of an erased person." in html
    assert Lead.objects.get(pk=row.pk).do_not_call


def test_the_page_of_a_lead_offers_what_changes_something(supervisor: Client) -> None:
    stop, recall = "stop_one", "recall_one"
    for row, offered, idle in ((lead(1), stop, recall), (lead(2, do_not_call=True), recall, stop)):
        html = staff.page(supervisor, staff.address(Lead, "change", row.pk))

        links = [reverse(f"admin:leads_lead_{each}", args=[row.pk]) for each in (offered, idle)]
        assert [f'href="{link}"' in html for link in links] == [True, False]
    assert supervisor.get(staff.address(Lead, "change", "x")).status_code == 302


def over_rest(group: str) -> Client:
    staff.make_groups()
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


def patch(client: Client, row: Lead, **changes: object) -> tuple[int, str]:
    answer = client.patch(f"/api/leads/{row.pk}", json.dumps(changes), content_type="application/json")
    return answer.status_code, answer.json().get("code", "")


def test_rest_asks_for_the_same_right_to_let_a_lead_be_called_again() -> None:
    row = lead(do_not_call=True)
    agent, supervisor = over_rest(groups.AGENT), over_rest(groups.SUPERVISOR)

    assert patch(agent, row, do_not_call=False) == (403, "permission_missing")
    assert patch(agent, row, do_not_call=True, name="Anna") == (200, "")
    assert Lead.objects.get().do_not_call
    tombstones.keep([row.phone])
    assert patch(supervisor, row, do_not_call=False) == (409, "person_erased")
    assert patch(supervisor, row, do_not_call=False, phone="+41446681800") == (409, "person_erased")
    ErasedPhone.objects.all().delete()
    assert patch(supervisor, row, do_not_call=False) == (200, "")
    assert not Lead.objects.get().do_not_call


def test_rest_asks_for_the_same_right_to_export_leads() -> None:
    assert over_rest(groups.AGENT).get("/api/leads/export").status_code == 403
    assert over_rest(groups.SUPERVISOR).get("/api/leads/export").status_code == 200
