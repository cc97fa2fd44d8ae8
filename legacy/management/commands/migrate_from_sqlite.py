from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from legacy.errors import MoveError, UnusableSource
from legacy.merge import KEEP, STOP, TAKE
from legacy.pipeline import ALL_TABLES, Options, run_import
from legacy.progress import Reporter, console_on
from legacy.report import Report, check_writable, write_json

DONE_WITH_REJECTED_ROWS = 3
STOPPED_BY_OPERATOR = 1


class Done(CommandError):
    """The rows are in but for rejected ones; Django prints the name of the class before the sentence."""


class Command(BaseCommand):
    help = "Bring a legacy SQLite database into PostgreSQL: complete, verified, repeatable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the legacy file, usually ai_scheduler.db")
        parser.add_argument("--dry-run", action="store_true", help="do all of it, then roll back")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")
        parser.add_argument(
            "--naive-timezone",
            metavar="ZONE",
            help="zone of times without one (as in the last import, else UTC)",
        )
        parser.add_argument("--tables", metavar="a,b", help="only these tables")
        parser.add_argument("--on-conflict", choices=(KEEP, TAKE, STOP), default=KEEP)
        parser.add_argument(
            "--delete-missing", action="store_true", help="delete imported rows gone from SQLite"
        )
        parser.add_argument("--max-rejected", type=int, metavar="N", help="stop when more rows are rejected")
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = self._run(options)
        except MoveError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        if report.rejected:
            sentence = f"rejected rows: {report.rejected}, each with its reason in the notes."
            raise Done(sentence, returncode=DONE_WITH_REJECTED_ROWS)

    def _run(self, options: dict[str, Any]) -> Report:
        console = console_on(self.stdout)
        chosen = _options(options)
        if options["report"]:
            check_writable(options["report"])
        self._ask(options)
        report = run_import(options["path"], chosen, Reporter(console))
        report.print(console)
        if options["report"]:
            self._write_report(options["report"], report)
        return report

    def _write_report(self, path: Path, report: Report) -> None:
        try:
            write_json(path, report.as_json())
        except MoveError as error:
            # No failure: the rows are in, and the exit code has to say so.
            self.stderr.write(f"{error} The same figures stand in the admin under Imports.")

    def _ask(self, options: dict[str, Any]) -> None:
        if options["no_input"] or options["dry_run"] or not sys.stdin.isatty():
            return
        name = connection.settings_dict["NAME"]
        if input(f"Import {options['path']} into database {name}? [y/N] ").strip().lower() not in (
            "y",
            "yes",
        ):
            raise CommandError("Nothing was imported.", returncode=STOPPED_BY_OPERATOR)


def _options(options: dict[str, Any]) -> Options:
    if options["max_rejected"] is not None and options["max_rejected"] < 0:
        raise UnusableSource("--max-rejected must not be negative.")
    return Options(
        dry_run=options["dry_run"],
        zone=_zone(options["naive_timezone"]),
        tables=_tables(options["tables"]),
        on_conflict=options["on_conflict"],
        delete_missing=options["delete_missing"],
        max_rejected=options["max_rejected"],
    )


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnusableSource(f"--naive-timezone: {name} is not a time zone.") from None


def _tables(names: str | None) -> frozenset[str]:
    if names is None:
        return ALL_TABLES
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    if unknown := sorted(chosen - ALL_TABLES) or (not chosen and ["nothing"]):
        raise UnusableSource(f"--tables: {', '.join(unknown)} is none of {', '.join(sorted(ALL_TABLES))}.")
    return chosen
