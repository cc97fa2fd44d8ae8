from argparse import ArgumentParser
from pathlib import Path
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from legacy.errors import MoveError
from legacy.export.file import export
from legacy.progress import Reporter, console_on


class Command(BaseCommand):
    help = "Write what PostgreSQL holds as a SQLite file that the old application opens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the file to write")
        parser.add_argument("--force", action="store_true", help="replace an existing file")

    def handle(self, *args: Any, path: Path, force: bool, **options: Any) -> None:
        console = console_on(self.stdout)
        start = monotonic()
        try:
            exported = export(path, Reporter(console), force)
        except MoveError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        seconds = monotonic() - start
        console.print(_table(exported.rows))
        console.print(f"Wrote {path}: {path.stat().st_size / 1e6:,.1f} MB in {seconds:,.1f} s.", markup=False)
        for sentence in exported.sentences():
            console.print(sentence, markup=False)


def _table(rows: dict[str, int]) -> Table:
    table = Table("table", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    return table
