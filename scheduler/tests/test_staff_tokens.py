"""Staff tokens: issued by a command, shown once, revoked in the admin."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.utils import timezone

from scheduler.models import StaffToken
from scheduler.tests.rest_world import ask, bearer
from scheduler.tests.staff import address, page, staff_client

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return User.objects.create_superuser("ada")


def issue(*arguments):
    out, err = StringIO(), StringIO()
    call_command("create_staff_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_a_token_that_works_and_keeps_its_digest_only(ada):
    out, err = issue("ada")
    token = out.removesuffix("\n")

    assert ask("/api/leads/", **bearer(token)).status_code == 200
    assert token not in err
    with connection.cursor() as cursor:
        cursor.execute("SELECT staff_tokens::text FROM staff_tokens")
        (stored,) = cursor.fetchone()
    assert token not in stored
    assert token.startswith(StaffToken.objects.get().prefix)
    assert len(StaffToken.objects.get().prefix) < 16 < len(token)


def test_options_of_the_command(ada):
    issue("ada", "--read-only", "--expires", "2099-12-31")
    token = StaffToken.objects.get()

    assert token.read_only
    assert token.expires_at is not None
    assert token.expires_at.isoformat() == "2099-12-31T23:59:59.999999+00:00"
    issue("ada", "--expires", "2099-12-31T12:00:00+02:00")
    second = StaffToken.objects.latest("id").expires_at
    assert second is not None and second.isoformat() == "2099-12-31T10:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "There is no active staff user 'nobody'."),
        (["ben"], "There is no active staff user 'ben'."),
        (
            ["ada", "--expires", "soon"],
            "--expires 'soon' is not a date or time in ISO 8601, such as 2030-12-31.",
        ),
        (["ada", "--expires", "2030-02-30"], "--expires '2030-02-30' is not a date"),
        (["ada", "--expires", "2001-01-01"], "--expires lies in the past."),
    ],
)
def test_the_command_refuses_what_makes_no_sense(ada, arguments, sentence):
    User.objects.create_user("ben")
    with pytest.raises(CommandError) as refused:
        issue(*arguments)

    assert str(refused.value).startswith(sentence)
    assert not StaffToken.objects.exists()


def test_staff_revoke_a_token_in_the_admin_and_see_it_nowhere(ada):
    out, _ = issue("ada")
    token = StaffToken.objects.get()
    client = staff_client("scheduler.view_stafftoken", "scheduler.change_stafftoken")
    for html in (
        page(client, address(StaffToken, "changelist")),
        page(client, address(StaffToken, "change", token.pk)),
    ):
        assert token.prefix in html
        assert out.strip() not in html and token.digest not in html
    chosen = {"action": "revoke", "_selected_action": [token.pk]}
    asked = client.post(address(StaffToken, "changelist"), chosen).content.decode()
    assert "Revoke 1 staff token?" in asked
    assert ask("/api/leads/", **bearer(out.strip())).status_code == 200
    for _ in range(2):
        answer = client.post(address(StaffToken, "changelist"), {**chosen, "confirmed": "yes"})
        assert answer.status_code == 302

    assert ask("/api/leads/", **bearer(out.strip())).status_code == 401
    assert LogEntry.objects.get().change_message == "Revoked the token"


def test_nobody_adds_a_token_in_the_admin(ada):
    client = staff_client("scheduler.view_stafftoken", "scheduler.add_stafftoken")

    assert client.get(address(StaffToken, "add")).status_code == 403


@pytest.mark.parametrize("digest", ["", "abc", "G" * 64, "A" * 64])
def test_postgresql_takes_no_token_but_a_digest(ada, digest):
    with pytest.raises(IntegrityError):
        StaffToken.objects.create(user=ada, prefix="x", digest=digest)


def test_a_token_dies_at_its_expiry(ada):
    out, _ = issue("ada", "--expires", "2099-12-31")
    StaffToken.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert ask("/api/leads/", **bearer(out.strip())).status_code == 200

    StaffToken.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    assert ask("/api/leads/", **bearer(out.strip())).status_code == 401
