import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from database.info import database_info


class Command(BaseCommand):
    # It is called when something is wrong; a complaint about an admin class must not stop it.
    requires_system_checks: list[str] = []
    help = "Show which database is in force, where its URL came from, and how full pools and server are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *, json: bool, **options: Any) -> None:
        try:
            info = database_info()
        except Error as error:
            raise CommandError(f"The database cannot be reached: {error}") from error
        self.stdout.write(as_json(info) if json else as_lines(info))


def as_json(info: dict[str, Any]) -> str:
    return json.dumps(info, indent=2)


def as_lines(info: dict[str, Any]) -> str:
    width = max(map(len, info)) + 2
    return "\n".join(f"{name.replace('_', ' '):<{width}}{_readable(value)}" for name, value in info.items())


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_readable(part)}" for name, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)
