import stat
from socket import socket

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from scheduler.management.commands.demo import administrator, chosen_port, import_legacy_file


@pytest.mark.django_db
def test_the_administrator_keeps_the_password_of_the_first_run(tmp_path):
    first = administrator(tmp_path / "password")

    assert administrator(tmp_path / "password") == first
    assert authenticate(username="admin", password=first) == User.objects.get(is_superuser=True)
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600


@pytest.mark.django_db
def test_the_administrator_of_a_new_database_gets_the_kept_password(tmp_path):
    (tmp_path / "password").write_text("kept-from-last-time")

    assert administrator(tmp_path / "password") == "kept-from-last-time"
    assert authenticate(username="admin", password="kept-from-last-time")


@pytest.mark.parametrize("port", ["web", "0", "65536", "-1"])
def test_a_wrong_port_is_refused(monkeypatch, port):
    monkeypatch.setenv("PORT", port)

    with pytest.raises(CommandError, match="PORT must be a port number"):
        chosen_port()


def test_a_taken_port_is_noticed_before_the_work_starts(monkeypatch):
    with socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("PORT", str(other.getsockname()[1]))

        with pytest.raises(CommandError, match="choose another one: PORT="):
            chosen_port()


@pytest.mark.parametrize("code", [0, 3])
def test_rejected_rows_of_the_demo_file_are_no_failure(monkeypatch, tmp_path, code):
    steps = []

    def run(name, *arguments):
        steps.append(name)
        if name == "migrate_from_sqlite" and code:
            raise CommandError("rejected rows", returncode=code)

    monkeypatch.setattr("scheduler.management.commands.demo.call_command", run)
    import_legacy_file(tmp_path / "ai_scheduler.db")

    assert steps == ["make_legacy_sqlite", "migrate_from_sqlite"]


def test_other_failures_of_the_import_end_the_demo(monkeypatch, tmp_path):
    def run(name, *arguments):
        if name == "migrate_from_sqlite":
            raise CommandError("no room", returncode=5)

    monkeypatch.setattr("scheduler.management.commands.demo.call_command", run)
    with pytest.raises(CommandError, match="no room"):
        import_legacy_file(tmp_path / "ai_scheduler.db")


def test_the_demo_refuses_production(settings):
    settings.DEBUG = False

    with pytest.raises(CommandError, match="DEBUG=1 only"):
        call_command("demo")
