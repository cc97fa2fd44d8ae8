"""What protects the admin: headers, cookies, groups with least rights, questions before what cannot be undone."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client

from leads.models import Lead
from scheduler.staff import groups, history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "calls.example.com",
    "TRUSTED_PROXIES": "10.0.0.1",
}
LEADS = "/admin/leads/lead/"


def directives(answer: Any) -> dict[str, list[str]]:
    return {name: rest for name, *rest in map(str.split, answer["Content-Security-Policy"].split(";"))}


@pytest.mark.parametrize(
    "path", ["/admin/login/", "/admin/", LEADS, "/admin/nowhere/", "/nowhere", "/api/docs"]
)
def test_every_page_has_a_policy_without_scripts_in_the_page(admin_client: Client, path: str) -> None:
    policy = directives(admin_client.get(path, headers={"accept": "text/html"}))

    assert policy["default-src"] == ["'self'"]
    assert set(policy["script-src"]) <= {"'self'", "'unsafe-eval'"}
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    if not path.startswith("/admin/"):
        assert policy["script-src"] == ["'self'"]


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", LEADS, LEADS + "add/", "/api/docs"])
def test_no_page_has_a_script_inside_or_asks_another_host(admin_client: Client, path: str) -> None:
    client = Client() if "login" in path else admin_client
    html = staff.page(client, path)

    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert scripts
    for attributes, body in scripts:
        assert not body.strip() or 'type="application/json"' in attributes
    assert not re.search(r"\son[a-z]+=", html)
    addresses = re.findall(r'<(?:script|link|img|iframe|source)[^>]*?(?:src|href)="([^"]+)"', html)
    assert addresses and not any(urlsplit(address).netloc for address in addresses)


def test_programs_get_no_policy(client: Client) -> None:
    assert "Content-Security-Policy" not in client.get("/api/leads/")


def test_the_session_cookie_is_out_of_reach_of_scripts_and_lasts_a_working_day(client: Client) -> None:
    User.objects.create_superuser("boss", password="the-right-one")

    cookie = client.post("/admin/login/", {"username": "boss", "password": "the-right-one"}).cookies[
        "sessionid"
    ]

    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    assert cookie["max-age"] == 12 * 60 * 60


def test_signing_in_leads_to_the_admin(client: Client) -> None:
    User.objects.create_superuser("boss", password="the-right-one")

    answer = client.post("/admin/login/", {"username": "boss", "password": "the-right-one"})

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_deploy_check_is_clean_in_production(manage) -> None:
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}/postgres"

    done = manage("check", "--deploy", "--fail-level", "WARNING", DATABASE_URL=url, **PRODUCTION)

    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout


def test_the_deploy_check_would_find_a_fault(manage) -> None:
    settings = {**PRODUCTION, "SECURE_HSTS_SECONDS": "0", "SECURE_SSL_REDIRECT": "0"}

    done = manage("check", "--deploy", DATABASE_URL="postgresql://a@127.0.0.1:1/x", **settings)

    assert "security.W004" in done.stderr and "security.W008" in done.stderr


# Groups


@pytest.fixture
def made() -> None:
    staff.make_groups()


def test_groups_are_made_twice_without_harm_and_only_of_real_permissions(made) -> None:
    kept = {group.name: set(group.permissions.all()) for group in Group.objects.all()}
    real = Permission.objects.count()
    groups.grant(apps, groups.RIGHTS)

    assert {group.name: set(group.permissions.all()) for group in Group.objects.all()} == kept
    assert Permission.objects.count() == real
    known = {
        f"{model._meta.app_label}.{verb}_{model._meta.model_name}"
        for model in apps.get_models()
        for verb in model._meta.default_permissions
    }
    assert {right for rights in groups.RIGHTS.values() for right in rights} <= known


def test_rights_that_somebody_added_stay(made) -> None:
    extra = Permission.objects.get(codename="delete_lead")
    Group.objects.get(name=groups.AGENT).permissions.add(extra)

    groups.grant(apps, groups.RIGHTS)

    assert extra in Group.objects.get(name=groups.AGENT).permissions.all()


@pytest.mark.parametrize(
    ("group", "opened", "closed"),
    [
        (
            groups.AGENT,
            "leads/lead/add calls/call meetings/meeting/add",
            "scheduler/setting auth/user legacy/importrun partners/partnerapikey partners/partner/add "
            "calls/call/add meetings/meetinghost/add",
        ),
        (
            groups.SUPERVISOR,
            "leads/lead calls/call/add legacy/importrownote scheduler/setting",
            "auth/user scheduler/setting/add partners/partnerapikey scheduler/stafftoken",
        ),
        (
            groups.PARTNER_MANAGER,
            "partners/partner/add partners/partnerapikey leads/lead",
            "calls/call calls/turn leads/lead/add meetings/meeting auth/user scheduler/setting",
        ),
        (
            groups.ADMINISTRATOR,
            "auth/user/add scheduler/setting/add partners/partner legacy/importrun",
            "auth/group/add",
        ),
    ],
)
def test_a_group_opens_its_pages_and_no_others(made, group: str, opened: str, closed: str) -> None:
    client = staff.member(group)

    for status, paths in ((200, opened), (403, closed)):
        for path in paths.split():
            assert client.get(f"/admin/{path}/").status_code == status, path
    home = staff.page(client, "/admin/")
    assert all(f'href="/admin/{path}/"' not in home for path in closed.split())


def test_an_administrator_makes_no_superuser_and_touches_none(made) -> None:
    boss = User.objects.create_superuser("boss", password="the-right-one")
    client = staff.member(groups.ADMINISTRATOR)
    user = User.objects.get(username="administrator")

    staff.edit(
        client, user, is_superuser="on", user_permissions=[Permission.objects.get(codename="add_group").pk]
    )

    user.refresh_from_db()
    assert not user.is_superuser and not user.user_permissions.exists()
    password = {"password1": "another-one-7", "password2": "another-one-7", "usable_password": "true"}
    assert client.post(f"/admin/auth/user/{boss.pk}/password/", password).status_code == 403
    assert client.post(staff.address(User, "delete", boss.pk), {"post": "yes"}).status_code == 403
    client.post(
        staff.address(User, "changelist"),
        {"action": "delete_selected", "_selected_action": [boss.pk], "post": "yes"},
    )
    boss.refresh_from_db()
    assert boss.check_password("the-right-one")


def test_an_administrator_passes_on_no_group_with_more_rights(made) -> None:
    client = staff.member(groups.ADMINISTRATOR)
    wide = Group.objects.create(name="Wide")
    wide.permissions.add(Permission.objects.get(codename="add_group"))
    user = User.objects.create_user("anna", is_staff=True)

    refused = staff.edit(client, user, groups=[wide.pk])
    assert "groups" in staff.errors_of(refused)
    agents = Group.objects.get(name=groups.AGENT)
    assert staff.edit(client, user, groups=[agents.pk]).status_code == 302
    assert list(user.groups.all()) == [agents]


def test_the_migration_makes_the_groups_on_an_empty_database(private_server, manage) -> None:
    done = manage("migrate", "scheduler", "-v0", DATABASE_URL=private_server.url, timeout=120)
    assert done.returncode == 0, done.stderr
    done = manage("migrate", "-v0", DATABASE_URL=private_server.url, timeout=120)
    assert done.returncode == 0, done.stderr

    code = (
        "from django.contrib.auth.models import Group, Permission; "
        "print(json.dumps({g.name: [f'{p.content_type.app_label}.{p.codename}' for p in g.permissions.all()]"
        " for g in Group.objects.all()}), Permission.objects.filter(codename='view_lead').count(), sep='\\n')"
    )
    done = manage("shell", "-v0", "-c", f"import json; {code}", DATABASE_URL=private_server.url)
    made, views = done.stdout.splitlines()
    # Later migrations grant more.
    assert {name: set(rights) - set(json.loads(made)[name]) for name, rights in groups.RIGHTS.items()} == {
        name: set() for name in groups.RIGHTS
    }
    assert views == "1"


# Questions


@pytest.fixture
def chosen() -> dict[str, Any]:
    for number in range(25):
        Lead.objects.create(name=f"{staff.SCRIPT} {number}", phone=f"+1415555{number:04}")
    keys = list(Lead.objects.values_list("pk", flat=True))
    return {"action": "stop_calling", "_selected_action": keys[:24], "index": "0"}


def test_an_action_that_cannot_be_undone_asks_first(admin_client: Client, chosen) -> None:
    answer = admin_client.post(LEADS, chosen)
    html = answer.content.decode()

    assert "Never call these 24 leads again?" in html and "and 4 more" in html
    assert staff.SCRIPT not in html and html.count(staff.ESCAPED_SCRIPT) == 20
    assert len(re.findall(r'<input type="hidden" name="_selected_action"', html)) == 24
    assert not Lead.objects.filter(do_not_call=True).exists() and not LogEntry.objects.exists()


def test_the_page_alone_confirms_without_a_script(admin_client: Client, chosen) -> None:
    html = admin_client.post(LEADS, chosen).content.decode()
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html.partition("<h2")[2])
    data: dict[str, list[str]] = {}
    for name, value in fields:
        data.setdefault(name, []).append(value)

    assert admin_client.post(LEADS, {**data, "reason": "They wrote"}).status_code == 302

    assert Lead.objects.filter(do_not_call=True).count() == 24 == LogEntry.objects.count()
    entry = history.told(LogEntry.objects.latest("pk"))
    assert (entry.note, [tuple(each) for each in entry.changes]) == (
        "They wrote",
        [("Do not call", "no", "yes")],
    )


def test_a_missing_reason_is_asked_for_again(admin_client: Client, chosen) -> None:
    html = admin_client.post(LEADS, {**chosen, "confirmed": "yes", "reason": "  "}).content.decode()

    assert "This field is required." in html
    assert not Lead.objects.filter(do_not_call=True).exists()


def test_all_rows_of_a_filter_are_confirmed_together(admin_client: Client, chosen) -> None:
    everything = {**chosen, "select_across": "1"}
    assert "Never call these 25 leads again?" in admin_client.post(LEADS, everything).content.decode()

    admin_client.post(LEADS, {**everything, "confirmed": "yes", "reason": "All of them"})

    assert Lead.objects.filter(do_not_call=True).count() == 25


def test_who_may_not_change_is_not_even_asked(chosen) -> None:
    viewer = staff.staff_client("leads.view_lead")

    viewer.post(LEADS, {**chosen, "confirmed": "yes", "reason": "x"})

    assert not Lead.objects.filter(do_not_call=True).exists()
