"""Deleting leads: what forbids it is said before the question is answered, and so is what is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

LIST = "/admin/leads/lead/"
YES = {"confirmed": "yes"}


def lead(number: int, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def past_call(row: Lead) -> Call:
    return Call.objects.create(lead=row, ended_at=timezone.now() + timedelta(seconds=5))


def both_ways(client: Client, rows: list[Lead], **data: str) -> list[str]:
    """Ask to delete the first row on its page, and all of them from the list."""
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows], **data}
    answers = [
        client.post(staff.address(Lead, "delete", rows[0].pk), data),
        client.post(LIST, chosen, follow=True),
    ]
    return [answer.content.decode() for answer in answers]


def test_who_may_not_delete_calls_deletes_no_lead_that_has_some() -> None:
    client = staff.staff_client("leads.view_lead", "leads.delete_lead")
    rows = [lead(1), lead(2)]
    past_call(rows[0])

    for html in both_ways(client, rows, **YES):
        assert "You have no right to delete calls." in html and ">Delete<" not in html

    assert Lead.objects.count() == 2 and Call.objects.count() == 1


def test_a_lead_on_the_telephone_is_refused_before_the_question(admin_client: Client) -> None:
    rows = [lead(1), lead(2)]
    double = Lead.objects.create(name="Double", phone=rows[0].phone, duplicate_of=rows[0])
    Call.objects.create(lead=double)

    for data in ({}, YES):
        for html in both_ways(admin_client, rows, **data):
            assert "One of the leads is being called" in html and ">Delete<" not in html

    assert Lead.objects.count() == 3


def test_a_claimed_lead_is_refused_and_one_whose_lease_has_ended_is_not(admin_client: Client) -> None:
    row = lead(
        1, status="queued", claimed_by="worker", lease_expires_at=timezone.now() + timedelta(minutes=9)
    )
    past_call(row)

    assert "is being called" in both_ways(admin_client, [row], **YES)[0]
    Lead.objects.update(lease_expires_at=timezone.now())
    both_ways(admin_client, [row], **YES)

    assert not Lead.objects.exists()


def test_more_than_a_thousand_are_refused_before_the_question(admin_client: Client) -> None:
    Lead.objects.bulk_create(Lead(name="x", phone=f"+1415555{number:04}") for number in range(1001))
    row = Lead.objects.first()
    assert row is not None

    html = both_ways(admin_client, [row], select_across="1")[1]

    assert "At most 1,000 leads can be deleted at once." in html and ">Delete<" not in html


def test_the_question_says_that_a_refusal_to_be_called_goes_too(admin_client: Client) -> None:
    rows = [lead(number, do_not_call=number < 3) for number in (1, 2, 3)]

    one, many = both_ways(admin_client, rows)
    assert "It is never to be called; that goes too. Erase the person to keep it." in one
    assert "2 of them are never to be called; that goes too. Erase the person to keep it." in many
    assert "1 of them is never to be called" in both_ways(admin_client, rows[1:])[1]
    assert "never to be called" not in "".join(both_ways(admin_client, rows[2:]))
    Call.objects.create(lead=rows[0])
    assert "It is never to be called" in both_ways(admin_client, rows)[0]


def test_what_goes_is_counted(admin_client: Client) -> None:
    rows = [lead(1), lead(2)]
    for row in (*rows, rows[1]):
        past_call(row)

    one, many = both_ways(admin_client, rows)
    assert "1 call goes with it." in one
    assert "3 calls go with them." in many
    assert "Nothing else goes with it." in both_ways(admin_client, [lead(3)])[0]
