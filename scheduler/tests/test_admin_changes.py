"""The list of all changes: what the history of a row that is gone, or of no row, would tell nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.utils import timezone

from leads.erasure import erase
from leads.models import Lead
from scheduler.models import Setting
from scheduler.staff import changes, groups, history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

LIST = "/admin/admin/logentry/"
INDEXES = {
    "newest": {},
    "by_user": {"user": 1},
    "by_kind": {"content_type": 1},
    "by_deed": {"action_flag": DELETION},
}


@pytest.fixture
def lead() -> Lead:
    return Lead.objects.create(id=987_654, name="Ann Example", phone="+14155550134", email="ann@example.com")


def entry(row: Any, **values: Any) -> LogEntry:
    user, _ = User.objects.get_or_create(username="writer")
    kind = ContentType.objects.get_for_model(row)
    shown = {"object_id": str(row.pk), "object_repr": str(row), "action_flag": ADDITION}
    return LogEntry.objects.create(**{"user": user, "content_type": kind, **shown, **values})


def listed(client: Client, **parameters: str | int) -> str:
    return staff.page(client, LIST, **parameters)


def test_deletions_merges_exports_and_erasures_are_found(admin_client: Client, lead: Lead) -> None:
    other = Lead.objects.create(name="Ben", phone="+14155550135")
    merge = {"action": "merge", "_selected_action": [lead.pk, other.pk], "keep": lead.pk, "confirmed": "yes"}
    export = {"action": "export", "_selected_action": [lead.pk]}
    list(admin_client.post("/admin/leads/lead/", merge, follow=True))
    list(admin_client.post("/admin/leads/lead/", export))
    admin_client.post(staff.address(Lead, "delete", other.pk), {"confirmed": "yes"})
    gone = Lead.objects.create(name="Zoe Gone", phone="+14155550136")
    admin_client.post(f"/admin/leads/lead/{gone.pk}/erase/", {"confirmed": "yes"})

    html = listed(admin_client)

    assert staff.rows_listed(html) == LogEntry.objects.count() == 5
    for text in (f"Merged leads {other.pk} into it", "Export of 1 leads", "Erased the person", "Ben"):
        assert text in html, text
    assert "Zoe Gone" not in html and f'href="{LIST}"' in html


def test_the_page_of_an_entry_shows_the_values_before_and_after(admin_client: Client, lead: Lead) -> None:
    staff.edit(admin_client, lead, name=staff.SCRIPT)
    changed = LogEntry.objects.get()
    admin_client.post(staff.address(Lead, "delete", lead.pk), {"confirmed": "yes"})

    html = staff.page(admin_client, staff.address(LogEntry, "change", changed.pk))
    assert "<td>Ann Example</td>" in html and staff.ESCAPED_SCRIPT in html and staff.SCRIPT not in html
    assert f'href="{staff.address(Lead, "change", lead.pk)}"' in html
    deleted = LogEntry.objects.get(action_flag=DELETION)
    html = staff.page(admin_client, staff.address(LogEntry, "change", deleted.pk))
    assert "<td>+14155550134</td>" in html and f"/lead/{lead.pk}/change/" not in html


def test_what_was_erased_stays_erased(admin_client: Client, lead: Lead) -> None:
    staff.edit(admin_client, lead, name="Anna Example")
    changed = LogEntry.objects.get()

    erase(lead.pk)

    for html in (
        listed(admin_client),
        staff.page(admin_client, staff.address(LogEntry, "change", changed.pk)),
    ):
        assert "erased" in html and "Example" not in html.partition('id="content"')[2]


def test_it_is_narrowed_by_user_kind_deed_and_day(admin_client: Client, lead: Lead) -> None:
    setting = Setting.objects.create(key="voice", value="Adam")
    yesterday = timezone.now() - timedelta(days=1)
    old = entry(lead, action_time=yesterday, object_repr="the old one")
    entry(setting, action_flag=DELETION)
    entry(lead, user=User.objects.create_user("ben"), object_repr="that of ben")
    kind = ContentType.objects.get_for_model(Setting).pk
    narrowed: dict[str, tuple[dict[str, Any], int]] = {
        "user": ({"user__id__exact": old.user_id}, 2),
        "kind": ({"kind": kind}, 1),
        "deed": ({"action_flag__exact": DELETION}, 1),
        "day": ({"day": f"{timezone.localtime(yesterday):%Y-%m-%d}"}, 1),
        "user and day": ({"user__id__exact": old.user_id, "day": f"{timezone.localdate():%Y-%m-%d}"}, 1),
        "no day": ({"day": "2026-02-31"}, 3),
        "no date": ({"day": "0001-01-01"}, 3),
        "no kind": ({"kind": "x"}, 3),
    }
    for name, (parameters, number) in narrowed.items():
        assert staff.rows_listed(listed(admin_client, **parameters)) == number, name
    html = listed(admin_client, day="2026-01-31", kind=kind)
    assert 'type="date"' in html and f'name="kind" value="{kind}"' in html and 'value="2026-01-31"' in html
    for query in staff.filter_links(html):
        assert admin_client.get(LIST + query).status_code == 200, query


def test_it_is_searched_by_the_name_and_the_id_of_a_row(admin_client: Client, lead: Lead) -> None:
    entry(lead)
    entry(
        Setting.objects.create(key="voice", value="Adam"), object_id="voice", object_repr="ada.li@example.com"
    )
    entry(lead, object_id=None, object_repr="Export of 12 leads from leads.csv")

    for term, number in (
        ("ann", 1),
        ("exam ann", 1),
        ("ben", 0),
        (str(lead.pk), 1),
        ("export", 1),
        ("leads.csv", 1),
        ("ada.li@example.com", 1),
        ("ada.li", 1),
        ("12", 1),
    ):
        assert staff.rows_listed(listed(admin_client, q=term)) == number, term
    for term in [*staff.NASTY, "\0", "'':* &", "---"]:
        listed(admin_client, q=term)


def test_supervisors_see_changes_of_what_they_may_see_and_change_none(lead: Lead) -> None:
    staff.make_groups()
    user = User.objects.create_user("anna")
    shown, hidden = entry(lead), entry(user, object_repr="a hidden row")

    for group in (groups.AGENT, groups.PARTNER_MANAGER):
        client = staff.member(group)
        assert client.get(LIST).status_code == 403
        assert f'href="{LIST}"' not in staff.page(client, "/admin/")
    supervisor, administrator = staff.member(groups.SUPERVISOR), staff.member(groups.ADMINISTRATOR)
    assert "Ann Example" in listed(supervisor) and "a hidden row" not in listed(supervisor)
    assert "a hidden row" in listed(administrator)
    address = staff.address(LogEntry, "change", hidden.pk)
    assert supervisor.get(address).status_code == 302 and administrator.get(address).status_code == 200
    for page in ("delete", "change"):
        path = staff.address(LogEntry, page, shown.pk)
        assert administrator.post(path, {"confirmed": "yes", "object_repr": "x"}).status_code == 403
    assert administrator.get(staff.address(LogEntry, "add")).status_code == 403
    assert LogEntry.objects.filter(object_repr="Ann Example").exists()


def test_the_list_has_no_query_per_row(admin_client: Client, lead: Lead) -> None:
    def make(number: int) -> object:
        return entry(lead, change_message=history.changed_message([history.Change("Name", "a", "b")]))

    staff.check_lists_have_no_query_per_row(admin_client, LogEntry, make)


def test_sorting_filters_and_search_have_their_indexes(lead: Lead) -> None:
    for _ in range(3):
        entry(lead)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    for name, condition in INDEXES.items():
        rows = LogEntry.objects.filter(**condition).order_by("-action_time", "-id")[:50]
        assert f"django_admin_log_{name}" in rows.explain(), name
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off")
    plan = LogEntry.objects.filter(changes.matching("ann exam")).explain()
    assert "django_admin_log_words" in plan and "django_admin_log_by_row" in plan
