import sqlite3
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from legacy.schema import NEWEST
from legacy.synthetic.build import DEFAULT_LEADS, DEFAULT_SEED, build, check


class Command(BaseCommand):
    help = "Write a synthetic legacy SQLite file for rehearsals, demos and benchmarks."
    # It writes a file of its own and needs neither PostgreSQL nor a healthy configuration.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the file to write")
        parser.add_argument("--leads", type=int, default=DEFAULT_LEADS, help="each has 3 calls and 24 turns")
        parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="same seed, same content")
        parser.add_argument(
            "--dirty", action="store_true", help="spoil about 2 %% of the rows in every known way"
        )
        parser.add_argument("--revision", type=int, default=NEWEST, help="revision of the old schema, 1 to 7")
        parser.add_argument("--force", action="store_true", help="replace an existing file")

    def handle(self, *args: Any, path: Path, leads: int, revision: int, **options: Any) -> None:
        self._refuse(path, leads, revision, options["force"])
        try:
            build(path, leads=leads, seed=options["seed"], dirty=options["dirty"], revision=revision)
        except (OSError, sqlite3.Error) as error:
            raise CommandError(f"Cannot write {path}: {error}.") from error
        self.stdout.write(f"Wrote {path}: {leads:,} leads, {path.stat().st_size / 1e6:,.1f} MB.")

    def _refuse(self, path: Path, leads: int, revision: int, force: bool) -> None:
        try:
            check(leads, revision)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if path.is_dir():
            raise CommandError(f"{path} is a directory; name the file to write.")
        if path.exists() and not force:
            raise CommandError(f"{path} exists already; add --force to replace it.")
        if not path.parent.is_dir():
            raise CommandError(f"There is no directory {path.parent} to write {path.name} to.")
