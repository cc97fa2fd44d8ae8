"""The demo: from nothing to imported calls in the admin, one step after the other."""

import os
import secrets
import sys
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

USER = "admin"
HOST = "127.0.0.1"
DONE_WITH_REJECTED_ROWS = 3  # of migrate_from_sqlite; the demo's file holds bad rows on purpose


class Command(BaseCommand):
    help = "Fill the database with a legacy demo file and serve the admin on http://127.0.0.1:$PORT/."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo creates an administrator, so it runs with DEBUG=1 only.")
        port = chosen_port()
        folder = settings.BASE_DIR / ".local" / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        call_command("migrate", interactive=False, verbosity=0)
        import_legacy_file(folder / "ai_scheduler.db")
        call_command("collectstatic", interactive=False, verbosity=0)
        password = administrator(folder / "password")
        self.stdout.write(
            f"\nOpen http://{HOST}:{port}/ and sign in as {USER} with {password}\nCtrl-C ends it.\n"
        )
        self.stdout.flush()
        serve(port)


def chosen_port() -> int:
    port = os.environ.get("PORT") or "8000"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise CommandError("PORT must be a port number, 1 to 65535.")
    refuse_taken(int(port))
    return int(port)


def refuse_taken(port: int) -> None:
    with socket() as probe:
        # As the server does it: the rests of a server that just ended do not count.
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used ({error.strerror}); choose another one: PORT=8001 make demo"
            ) from error


def import_legacy_file(path: Path) -> None:
    """Make the file if it is absent, and import it; a second import finds nothing new."""
    if not path.exists():
        call_command("make_legacy_sqlite", str(path), "--leads", "300", "--seed", "7", "--dirty")
    try:
        call_command("migrate_from_sqlite", str(path), "--no-input")
    except CommandError as error:
        if error.returncode != DONE_WITH_REJECTED_ROWS:
            raise
    except SystemExit as end:
        if end.code not in (None, 0, DONE_WITH_REJECTED_ROWS):
            raise


def administrator(password_file: Path) -> str:
    """Make sure that the superuser can sign in, and return the password, the same one at every run."""
    password = password_file.read_text() if password_file.exists() else secrets.token_urlsafe(12)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    user, _ = get_user_model().objects.get_or_create(
        username=USER, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def serve(port: int) -> None:
    """Become the web server: Ctrl-C then reaches it directly and nothing stays behind."""
    os.chdir(settings.BASE_DIR)
    # Fewer threads than connections in the pool, so that no request waits for one; quiet, so that the
    # sign-in stays the last thing on the screen.
    server = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--blocking-threads", "16"]
    address = ["--host", HOST, "--port", str(port), "--log-level", "error"]
    os.execv(sys.executable, [*server, *address, "scheduler.wsgi:application"])
