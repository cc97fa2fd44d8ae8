"""What the groups may do: as docs/admin.md says it, and nothing beside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import RequestFactory

from leads.models import Lead
from scheduler.staff import groups
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

ROWS = {
    "Leads": "leads.Lead",
    "Imports of leads": "leads.LeadImport",
    "Calls": "calls.Call",
    "Turns of calls": "calls.Turn",
    "Meetings": "meetings.Meeting",
    "Hosts of meetings": "meetings.MeetingHost",
    "Partners": "partners.Partner",
    "API keys": "partners.PartnerApiKey",
    "Imports": "legacy.ImportRun",
    "Rows of imports": "legacy.ImportRowNote",
    "Imports from a file": "legacy.ImportJob",
    "Changes": "admin.LogEntry",
    "Settings": "scheduler.Setting",
    "Users": "auth.User",
    "Groups": "auth.Group",
    "Staff tokens": "scheduler.StaffToken",
}
NOTHING = "\N{EN DASH}"
# What pages offer beside seeing, adding, changing and deleting.
FURTHER = {
    "leads.Lead": {"export": "leads.export_lead", "let be called again": "leads.recall_lead"},
    "legacy.ImportRowNote": {"correct": "legacy.change_importrownote"},
    "legacy.ImportJob": {"start": "legacy.add_importjob"},
}


@pytest.fixture(autouse=True)
def made() -> None:
    staff.make_groups()


def documented() -> dict[str, dict[str, str]]:
    """Read the table of docs/admin.md: rights by row and group."""
    text = (settings.BASE_DIR / "docs" / "admin.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^\|(.*)\|$", text.partition("## Who may do what")[2].partition("##")[0], re.MULTILINE
    )
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    (_, *names), _, *rows = cells
    return {row: dict(zip(names, rights, strict=True)) for row, *rights in rows}


def real(rf: RequestFactory, group: str) -> dict[str, str]:
    """Ask the pages themselves what a member of a group may do."""
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    request = rf.get("/")
    request.user = user
    found = {}
    pages = {model._meta.label: page for model, page in admin.site._registry.items()}
    for row, label in ROWS.items():
        page = pages[label]
        allowed = {
            "see": page.has_view_permission(request),
            "add": page.has_add_permission(request),
            "change": page.has_change_permission(request),
            "delete": page.has_delete_permission(request),
        } | {word: user.has_perm(right) for word, right in FURTHER.get(label, {}).items()}
        found[row] = ", ".join(word for word, is_allowed in allowed.items() if is_allowed) or NOTHING
    return found


def test_the_table_of_rights_is_true(rf: RequestFactory) -> None:
    table = documented()

    assert list(table) == list(ROWS)
    for group in groups.RIGHTS:
        assert {row: rights[group] for row, rights in table.items()} == real(rf, group)


def test_the_table_of_rights_tells_of_every_page() -> None:
    # Jobs of procrastinate are a page for superusers.
    registered = {model._meta.label for model in admin.site._registry} - {"procrastinate.ProcrastinateJob"}

    assert registered == set(ROWS.values())


@pytest.mark.parametrize(
    ("group", "may_export"),
    [
        (groups.AGENT, False),
        (groups.SUPERVISOR, True),
        (groups.PARTNER_MANAGER, False),
        (groups.ADMINISTRATOR, True),
    ],
)
def test_only_supervisors_and_administrators_export_leads(group: str, may_export: bool) -> None:
    row = Lead.objects.create(name="Ann", phone="+14155550134")
    client = staff.member(group)

    answer: Any = client.post("/admin/leads/lead/", {"action": "export", "_selected_action": [row.pk]})

    assert answer.streaming == may_export == LogEntry.objects.exists()
    assert not may_export or row.phone.encode() in b"".join(answer.streaming_content)
    assert ('value="export"' in staff.page(client, "/admin/leads/lead/")) == may_export


# Users


PASSWORD = {"password1": "another-one-7", "password2": "another-one-7", "usable_password": "true"}


@pytest.fixture
def stronger() -> User:
    """Make a user in a group of the administrator's reach, and in one beyond."""
    wide = Group.objects.create(name="Wide")
    wide.permissions.add(Permission.objects.get(codename="change_group"))
    user = User.objects.create_user("anna", is_staff=True, password="the-right-one")
    user.groups.add(wide, Group.objects.get(name=groups.AGENT))
    return user


@pytest.mark.parametrize("is_active", [True, False])
def test_an_administrator_leaves_a_user_with_more_rights_as_they_are(stronger: User, is_active: bool) -> None:
    User.objects.filter(pk=stronger.pk).update(is_active=is_active)
    client = staff.member(groups.ADMINISTRATOR)
    path = staff.address(User, "change", stronger.pk)

    assert "anna" in staff.page(client, path)
    assert client.post(path, {"username": "anna", "email": "mine@example.com"}).status_code == 403
    assert client.post(f"/admin/auth/user/{stronger.pk}/password/", PASSWORD).status_code == 403
    assert client.post(staff.address(User, "delete", stronger.pk), {"post": "yes"}).status_code == 403

    stronger.refresh_from_db()
    assert stronger.check_password("the-right-one") and stronger.email == ""
    assert set(stronger.groups.values_list("name", flat=True)) == {"Wide", groups.AGENT}


def test_an_administrator_deletes_no_user_with_more_rights_from_the_list(stronger: User) -> None:
    client = staff.member(groups.ADMINISTRATOR)
    chosen = {"action": "delete_selected", "_selected_action": [stronger.pk]}

    asked = client.post(staff.address(User, "changelist"), chosen).content.decode()
    refused = client.post(staff.address(User, "changelist"), {**chosen, "post": "yes"})

    assert "user with further rights" in asked and refused.status_code == 403
    assert User.objects.filter(pk=stronger.pk).exists()


def test_a_right_of_their_own_puts_a_user_beyond_reach_too(stronger: User) -> None:
    stronger.groups.clear()
    stronger.user_permissions.add(Permission.objects.get(codename="change_group"))

    client = staff.member(groups.ADMINISTRATOR)

    assert client.post(f"/admin/auth/user/{stronger.pk}/password/", PASSWORD).status_code == 403


@pytest.mark.parametrize("group", groups.RIGHTS)
def test_an_administrator_looks_after_the_members_of_every_group(group: str) -> None:
    client = staff.member(groups.ADMINISTRATOR)
    user = User.objects.create_user("anna", is_staff=True)
    user.groups.add(Group.objects.get(name=group))

    assert staff.edit(client, user, email="anna@example.com").status_code == 302
    assert client.post(f"/admin/auth/user/{user.pk}/password/", PASSWORD).status_code == 302

    user.refresh_from_db()
    assert user.email == "anna@example.com" and user.check_password("another-one-7")
    assert user.groups.get().name == group
