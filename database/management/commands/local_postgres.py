from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from database.backend.base import embedded_server
from database.embedded import EmbeddedServer, EmbeddedServerError

NOT_RUNNING = 3  # as `systemctl status` and `pg_ctl status` answer


class Command(BaseCommand):
    help = (
        "Start, stop, show or remove (with its data) the embedded PostgreSQL below .local (development only)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=("start", "stop", "status", "remove"))

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            getattr(self, action)(self.server())
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error

    def server(self) -> EmbeddedServer:
        database = settings.DATABASES["default"]
        if "EMBEDDED_DATA_DIR" not in database:
            raise CommandError("DATABASE_URL is set, so there is no embedded PostgreSQL here.")
        return embedded_server(database["EMBEDDED_DATA_DIR"])

    def start(self, server: EmbeddedServer) -> None:
        server.start()
        self.stdout.write(f"Running with pid {server.pid}: {server.url}")

    def stop(self, server: EmbeddedServer) -> None:
        self.stdout.write("Stopped." if server.stop() else "Not running.")

    def remove(self, server: EmbeddedServer) -> None:
        server.remove()
        self.stdout.write("Removed.")

    def status(self, server: EmbeddedServer) -> None:
        if not server.is_running():
            raise CommandError("Not running.", returncode=NOT_RUNNING)
        self.stdout.write(f"Running with pid {server.pid}: {server.url}")
