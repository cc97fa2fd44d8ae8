"""The home page of the admin: its links lead to as many rows as it says, and each reader sees only their own part."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from zeal import zeal_context

from analytics import dashboard, home
from analytics.tests.counting import call, figures_with_lists, lead, meeting, utc
from calls.models import Call
from leads.models import Lead
from legacy.models import ImportRun
from partners.models import Partner
from scheduler.staff import groups
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

ADDRESS = "/admin/"
LONG = "Very " * 100 + "long"


@pytest.fixture
def world() -> None:
    """Rows of many kinds within the last days, some hours apart."""
    now = timezone.now()
    nasty = Partner.objects.create(name=f"{staff.SCRIPT} {LONG}")
    statuses = [*Lead.Status.values, "queued", "meeting_scheduled"]
    for number, status in enumerate(statuses):
        created = now - timedelta(hours=5 * number)
        lead(
            number,
            created,
            status=status,
            partner=nasty if number % 2 else None,
            name=f"{staff.SCRIPT}{number}",
        )
    of = Lead.objects.order_by("id").first()
    assert of is not None
    for number in range(40):
        outcome = [*Call.Outcome.values, None][number % 5]
        call(of, now - timedelta(hours=7 * number, minutes=1), outcome)
    call(of, now - timedelta(minutes=2), ended_at=None)
    for number in range(-4, 12):
        made = meeting(
            of, now + timedelta(hours=13 * number + 1), created=now - timedelta(hours=2 * abs(number))
        )
        if number % 4 == 0:
            type(made).objects.filter(pk=made.pk).update(status="cancelled")


def member_of(*names: str) -> Client:
    user = User.objects.create_user(f"member{User.objects.count()}", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=names))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "America/St_Johns"])
def test_each_figure_links_to_a_list_of_as_many_rows(world, admin_client, settings, zone):
    settings.TIME_ZONE = zone
    figures = figures_with_lists(staff.page(admin_client, ADDRESS, days=7))

    assert len(figures) > 60
    assert len({number for _, number in figures}) > 5
    for address, number in dict.fromkeys(figures):
        if address.startswith(reverse("admin:calls_live")):
            continue
        answer = admin_client.get(address)
        assert answer.status_code == 200, address
        assert answer.context["cl"].result_count == number, address


def test_the_page_takes_few_queries_however_many_rows_there_are(world, admin_client):
    staff.queries_of(admin_client, ADDRESS)
    with zeal_context():
        before = staff.queries_of(admin_client, ADDRESS)
    for number in range(100, 130):
        partner = Partner.objects.create(name=f"Partner {number}")
        call(lead(number, partner=partner), timezone.now() - timedelta(minutes=number))

    assert staff.queries_of(admin_client, ADDRESS) == before <= staff.MOST_QUERIES


def test_booking_rate_is_meetings_made_per_100_calls(admin_client):
    of = lead(1)
    for day in range(8):
        call(of, utc(2026, 3, 1 + day, 12))
    meeting(of, utc(2026, 5, 1), created=utc(2026, 3, 2))

    html = staff.page(admin_client, ADDRESS, **{"from": "2026-03-01", "to": "2026-03-31"})

    card = html.partition("Booking rate")[2].partition("</li>")[0]
    assert "12.5 %" in card
    assert "no calls" in card  # today


def test_texts_of_others_are_shown_as_text(world, admin_client):
    html = staff.page(admin_client, ADDRESS)

    assert staff.SCRIPT not in html
    assert "&lt;script&gt;" in html


def test_an_empty_database_is_explained_in_words(admin_client):
    html = staff.page(admin_client, ADDRESS)

    for sentence in (
        "There is no call at all yet",
        "There is no lead yet",
        "No meeting is scheduled or confirmed",
        "No partner handed over a lead",
        "There was none.",
    ):
        assert sentence in html
    assert "<svg" not in html.partition('id="content-main"')[2]


def test_days_without_calls_point_to_those_with_calls(admin_client):
    call(lead(1), utc(2025, 2, 27, 9, 59))

    html = staff.page(admin_client, ADDRESS)

    assert "The newest one began on 2025-02-27 09:59 UTC" in html
    assert 'href="?from=2025-01-29&amp;to=2025-02-27"' in html
    assert "Calls by hour" in staff.page(admin_client, ADDRESS, **{"from": "2025-01-29", "to": "2025-02-27"})


@pytest.mark.parametrize(
    "wishes", [{"days": "31"}, {"from": "x", "to": staff.SCRIPT}, {"from": "2026-03-02", "to": "2026-03-01"}]
)
def test_wrong_days_are_told_and_the_page_is_there_all_the_same(admin_client, wishes):
    html = staff.page(admin_client, ADDRESS, **wishes)

    assert 'role="alert"' in html
    assert "Shown are the last 30 days." in html
    assert staff.SCRIPT not in html


PANELS = {
    "home-calls": {groups.AGENT, groups.SUPERVISOR, groups.ADMINISTRATOR},
    "home-funnel": {groups.AGENT, groups.SUPERVISOR, groups.PARTNER_MANAGER, groups.ADMINISTRATOR},
    "home-ahead": {groups.AGENT, groups.SUPERVISOR, groups.ADMINISTRATOR},
    "home-partners": {groups.AGENT, groups.SUPERVISOR, groups.PARTNER_MANAGER, groups.ADMINISTRATOR},
    "Active calls now": {groups.AGENT, groups.SUPERVISOR, groups.ADMINISTRATOR},
    "Last import": {groups.SUPERVISOR, groups.ADMINISTRATOR},
    "taken from": {groups.ADMINISTRATOR},
    "PostgreSQL 1": {groups.ADMINISTRATOR},
}


@pytest.mark.parametrize("group", groups.RIGHTS)
def test_each_group_sees_the_panels_it_may(world, group):
    html = staff.page(member_of(group), ADDRESS)

    assert {name for name in PANELS if name in html} == {name for name, who in PANELS.items() if group in who}


def test_a_group_sees_no_link_that_would_be_refused(world):
    client = member_of(groups.PARTNER_MANAGER)
    content = staff.page(client, ADDRESS).partition('id="content-main"')[2]

    for address in set(re.findall(r'href="(/[^"]+)"', content)):
        assert client.get(address.replace("&amp;", "&")).status_code == 200, address


def test_staff_without_rights_are_told_so():
    html = staff.page(staff.staff_client(), ADDRESS)

    assert "Your account may see none of the figures." in html
    assert "<svg" not in html.partition('id="content-main"')[2]


def test_who_is_not_signed_in_sees_nothing():
    assert Client().get(ADDRESS).status_code == 302


def test_the_last_import_is_told(admin_client):
    report = {"tables": {"leads": {"read": 1200, "rejected": 3}, "calls": {"read": 34, "rejected": 1}}}
    ImportRun.objects.create(source_path="old.db", source_bytes=1, report={})
    run = ImportRun.objects.create(source_path="a.db", source_bytes=1, report=report)

    html = staff.page(admin_client, ADDRESS)

    assert "1,234 rows read, 4 rejected" in html
    assert reverse("admin:legacy_importrun_change", args=[run.pk]) in html


def test_the_database_is_named_and_its_password_is_not(admin_client, settings):
    html = staff.page(admin_client, ADDRESS)

    assert settings.DATABASE_URL_SOURCE in html
    assert "There is none; everything is read from this database." in html
    assert "nobody waits" in html or "No figures at this moment" in html or "This process has none" in html


@pytest.mark.django_db(transaction=True)
def test_figures_that_took_long_are_kept_and_the_page_says_of_when(admin_client, monkeypatch):
    of = lead(1)
    call(of, timezone.now() - timedelta(seconds=5))
    dashboard.recent.forget()
    try:
        monkeypatch.setattr(dashboard.recent, "worth_keeping", 60)
        assert "Counted at this moment." in staff.page(admin_client, ADDRESS)
        monkeypatch.setattr(dashboard.recent, "worth_keeping", 0)
        staff.page(admin_client, ADDRESS)
        call(of, timezone.now() - timedelta(seconds=4))
        html = staff.page(admin_client, ADDRESS)
        assert re.search(r"Figures as of \d\d:\d\d:\d\d UTC", html)
        assert (figures_with_lists(html)[0][1]) == 1
    finally:
        dashboard.recent.forget()


def test_long_periods_are_drawn_a_week_a_bar(world, admin_client):
    today = timezone.localdate()
    wishes = {"from": str(today - timedelta(days=300)), "to": str(today)}

    html = staff.page(admin_client, ADDRESS, **wishes)

    assert "Calls by week and outcome" in html
    assert home.DAILY_BARS < 300


def test_the_oldest_active_call_is_found_among_the_active_ones(admin_client):
    row = lead(1)
    Call.objects.bulk_create(
        Call(
            lead=row, started_at=utc(2026, 1, 1, 0, 0) + timedelta(minutes=n), ended_at=utc(2027, 1, 1, 0, 0)
        )
        for n in range(3000)
    )
    Call.objects.create(lead=row, started_at=utc(2026, 6, 1, 0, 0))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE calls")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING off, COSTS off) {dashboard.NOW}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert dashboard.now().oldest == utc(2026, 6, 1, 0, 0)
    assert "calls_one_active_per_lead" in plan and "calls_newest" not in plan
    assert "Rows Removed by Filter: 2" not in plan and "Rows Removed by Filter: 3" not in plan
