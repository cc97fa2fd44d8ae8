from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from legacy.check import LISTED, check_import
from legacy.errors import MoveError, VerificationFailed
from legacy.progress import Reporter, console_on
from legacy.report import check_writable, write_json


class Command(BaseCommand):
    help = "Compare PostgreSQL with a legacy file again, every column of every row; changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the legacy file, usually ai_scheduler.db")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write all differences as JSON")
        parser.add_argument(
            "--allow-new", action="store_true", help="rows that only PostgreSQL has are no failure"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except MoveError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error

    def _run(self, options: dict[str, Any]) -> None:
        console = console_on(self.stdout)
        if options["report"]:
            check_writable(options["report"])
        with tempfile.TemporaryDirectory(prefix="verify-import-") as folder:
            checked = check_import(options["path"], Path(folder), options["allow_new"], Reporter(console))
        for finding in checked.findings[:LISTED]:
            console.print(str(finding), markup=False, highlight=False)
        if len(checked.findings) > LISTED:
            console.print(f"and {len(checked.findings) - LISTED:,} more; --report FILE lists all")
        if options["report"]:
            write_json(options["report"], checked.as_json())
        if checked.failed:
            raise VerificationFailed(f"{checked.failed:,} differences between the file and PostgreSQL.")
        console.print(f"{checked.rows:,} rows are the same in the file and in PostgreSQL.")
