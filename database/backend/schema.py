"""Migrations without the limit that is meant for requests, also when they are run from a program."""

from typing import Any

from django.db.backends.postgresql.schema import DatabaseSchemaEditor


class SchemaEditor(DatabaseSchemaEditor):
    """Lift `statement_timeout` for the migration; the role's own limit too, behind PgBouncer.

    A migration that is not atomic keeps a limit set by the role when it runs behind PgBouncer, because there a SET
    would go to a server connection that others use next.
    """

    def __enter__(self) -> Any:
        entered = super().__enter__()
        if self.collect_sql:
            return entered
        if self.atomic_migration:
            self.execute("SET LOCAL statement_timeout = 0")
        elif not self._behind_pgbouncer():
            self.execute("SET statement_timeout = 0")
        return entered

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            session = not (self.collect_sql or self.atomic_migration or self._behind_pgbouncer())
            # Inside a transaction that failed the rollback resets it.
            if session and not (error[0] and self.connection.in_atomic_block):
                self.execute("RESET statement_timeout")

    def _behind_pgbouncer(self) -> bool:
        return bool(self.connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))
