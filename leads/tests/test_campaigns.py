"""Campaigns: who is queued, and that nobody is queued twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from leads import campaigns
from leads.models import Campaign, CampaignLead, Lead

START = "/api/campaigns/start"
FIGURES = "/api/analytics/active-campaigns"
pytestmark = pytest.mark.django_db


def lead(number, **options):
    return Lead.objects.create(
        name=f"Lead {number}", phone=f"+1415555{number:04d}", **{"phone_valid": True, **options}
    )


def start(client, ids, name="Spring", **headers):
    body = json.dumps({"name": name, "lead_ids": ids})
    return client.post(START, body, content_type="application/json", headers=headers)


def test_leads_that_may_be_called_are_queued(staff):
    first = lead(1)
    chosen = [first, lead(2, status="no_answer"), lead(3, status="contacted"), lead(4, do_not_call=True),
              lead(5, phone_valid=False), lead(6, status="queued"), lead(7, status="calling")]  # fmt: skip
    chosen.append(Lead.objects.create(name="d", phone=first.phone, phone_valid=True, duplicate_of=first))
    left = lead(8)

    answer = start(staff, [each.pk for each in chosen] + [first.pk, 10**15])

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "message": "Campaign started successfully with 2 leads queued",
        "queued_leads": 2,
    }
    (campaign,) = Campaign.objects.all()
    assert (campaign.name, campaign.started_by) == ("Spring", User.objects.get())
    assert set(campaign.leads.all()) == set(chosen[:2])
    for each in chosen:
        each.refresh_from_db()
    assert [each.status for each in chosen] == [
        "queued", "queued", "contacted", "pending", "pending", "queued", "calling", "pending",
    ]  # fmt: skip
    left.refresh_from_db()
    assert left.status == "pending"


def test_a_campaign_without_leads_is_refused_and_not_kept(staff):
    contacted = lead(1, status="contacted")
    for ids, status, sentence in (
        ([], 404, "No valid leads found"),
        ([99999, -5], 404, "No valid leads found"),
        ([contacted.pk], 400, "No eligible leads (must be pending or no_answer status)"),
    ):
        answer = start(staff, ids)
        assert (answer.status_code, answer.json()["detail"]) == (status, sentence)
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("body", [{}, {"name": "x"}, {"name": " ", "lead_ids": [1]}, {"name": "x", "lead_ids": ["a"]},
                                  {"name": "x", "lead_ids": [2**63]}, {"name": "x", "lead_ids": 1}])  # fmt: skip
def test_a_wrong_body_is_refused(staff, body):
    assert staff.post(START, json.dumps(body), content_type="application/json").status_code == 422


@pytest.mark.parametrize("number", [1, 200])
def test_a_start_is_one_statement(number, staff):
    ids = [lead(n).pk for n in range(number)]
    user = User.objects.get()
    with CaptureQueriesContext(connection) as captured:
        assert campaigns.start("x", ids, user.pk) == number
    assert len(captured) == 1


@pytest.mark.django_db(transaction=True)
def test_two_starts_at_once_never_queue_a_lead_twice(staff):
    user_id = User.objects.get().pk
    ids = [lead(n).pk for n in range(60)]
    for each in range(5):
        Campaign.objects.all().delete()
        Lead.objects.update(status="pending")
        # In opposite orders, and with others of their own.
        given = [ids[:50], ids[10:][::-1], ids[5:55], ids[::-1]]
        barrier = Barrier(len(given), timeout=60)

        def run(chosen, barrier=barrier):
            barrier.wait()
            try:
                return campaigns.start("x", chosen, user_id)
            except Exception as error:
                return getattr(error, "status", error)
            finally:
                connections.close_all()

        connection.close()
        with ThreadPoolExecutor(len(given)) as threads:
            results = list(threads.map(run, given))

        assert all(isinstance(result, int) for result in results), (each, results)
        assert sum(result for result in results if result != 400) == 60
        assert CampaignLead.objects.count() == 60
        assert CampaignLead.objects.values("lead").distinct().count() == 60


def test_a_lead_is_in_a_campaign_once():
    one, campaign = lead(1), Campaign.objects.create(name="x")
    CampaignLead.objects.create(campaign=campaign, lead=one)
    with pytest.raises(IntegrityError), transaction.atomic():
        CampaignLead.objects.create(campaign=campaign, lead=one)


def test_leads_are_counted_by_status(staff):
    lead(1), lead(2), lead(3, status="queued")

    counts = staff.get("/api/campaigns/status").json()["status_counts"]
    assert (counts["pending"], counts["queued"], counts["failed"]) == (2, 1, 0)
    assert set(counts) == set(Lead.Status.values)


def test_the_progress_of_campaigns_is_shown(staff):
    assert staff.get(FIGURES).json() == {"campaigns": []}
    leads = [lead(n) for n in range(4)]
    start(staff, [each.pk for each in leads], "Spring")
    Lead.objects.filter(pk=leads[0].pk).update(status="contacted")
    Lead.objects.filter(pk=leads[1].pk).update(status="calling")
    Lead.objects.filter(pk=leads[2].pk).update(status="no_answer")
    # Queued again by another campaign, it is that one's from then on.
    start(staff, [leads[2].pk], "Summer")

    assert staff.get(FIGURES).json() == {
        "campaigns": [
            {"name": "Summer", "is_active": True, "queued": 1, "calling": 0, "completed": 0, "total": 1,
             "progress": 0.0},
            {"name": "Spring", "is_active": True, "queued": 1, "calling": 1, "completed": 2, "total": 4,
             "progress": 50.0},
        ]
    }  # fmt: skip
    Lead.objects.update(status="contacted")
    figures = staff.get(FIGURES).json()["campaigns"]
    assert [(each["is_active"], each["progress"]) for each in figures] == [(False, 100.0), (False, 100.0)]
