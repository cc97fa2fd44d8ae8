"""System checks of the project. Their ids are stable: people silence them by id."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from database.environment import Environment


def check_database_url_set_twice(**kwargs: Any) -> list[CheckMessage]:
    """Warn when the process and `.env` name two databases: one of them is not the one that was meant."""
    environment = Environment.of_project(settings.BASE_DIR)
    in_process, in_file = environment.process.get("DATABASE_URL"), environment.file.get("DATABASE_URL")
    if not in_file or in_process is None or in_process == in_file:
        return []
    return [
        Warning(
            "DATABASE_URL is set in the process environment and differs from the one in .env; "
            "the process environment is in force.",
            hint="Remove one of the two. `manage.py database_info` shows the database in force.",
            id="scheduler.W001",
        )
    ]


def check_trusted_proxies(**kwargs: Any) -> list[CheckMessage]:
    """Warn when a proxy must stand before us and none is trusted: all clients then have the proxy's address."""
    if settings.TRUSTED_PROXIES or not settings.SECURE_SSL_REDIRECT:
        return []
    return [
        Warning(
            "TRUSTED_PROXIES is empty, but https is answered by a proxy: failed sign-ins of all clients are counted "
            "together, so one who guesses keys locks out everybody.",
            hint="Set TRUSTED_PROXIES to the proxy's address or network, or to unix for one that uses a socket.",
            id="scheduler.W002",
        )
    ]
