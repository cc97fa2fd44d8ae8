"""What the catalogue says about a table's constraints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple

from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg import sql

from database.bulk.columns import column_of, columns_of, key_of
from database.bulk.refusals import REFUSALS

DEFERRED = """
SELECT (SELECT n.nspname FROM pg_namespace n WHERE n.oid = c.connamespace), c.conname, c.contype
FROM pg_constraint c WHERE c.conrelid = to_regclass(quote_ident({table})) AND c.condeferred ORDER BY c.conname
"""
SAVEPOINT = sql.Identifier("bulk_constraints")
KEY_OF = """
SELECT a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.conrelid = to_regclass(quote_ident(%s)) AND c.conname = %s AND c.contype = 'f'
"""
UNIQUE = """
SELECT i.relname,
    ARRAY(
        SELECT a.attname FROM unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum ORDER BY k.place
    ),
    pg_get_expr(x.indpred, x.indrelid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = to_regclass(quote_ident(%s)) AND x.indisunique AND x.indimmediate AND x.indisvalid
    AND x.indexprs IS NULL
ORDER BY x.indpred IS NOT NULL, i.relname
"""


class UniqueKey(NamedTuple):
    """A unique index; `predicate` is its condition in SQL, None when it holds for all rows."""

    name: str
    columns: tuple[str, ...]
    predicate: str | None

    @property
    def condition(self) -> sql.Composable:
        """Return the condition, which PostgreSQL itself wrote."""
        return sql.SQL(self.predicate or "true")


def unique_key(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str]) -> UniqueKey:
    """Return the unique index over exactly these columns, in any order; one without a condition is preferred.

    Raises FieldError, naming the keys that there are, when there is none or more than one conditional one.
    """
    with connection.cursor() as cursor:
        cursor.execute(UNIQUE, [table])
        keys = [UniqueKey(name, tuple(names), predicate) for name, names, predicate in cursor.fetchall()]
    fitting = [key for key in keys if sorted(key.columns) == sorted(columns)]
    if not fitting:
        known = "; ".join(", ".join(key.columns) for key in keys)
        raise FieldError(f"No unique index of {table} is over {', '.join(columns)}; there are: {known}.")
    if len(fitting) > 1 and fitting[0].predicate is not None:
        names = ", ".join(key.name for key in fitting)
        raise FieldError(f"Several unique indexes of {table} fit, each with a condition of its own: {names}.")
    return fitting[0]


class Deferred:
    """The constraints of a table that wait for the COMMIT, and would surprise the caller there."""

    def __init__(self, connection: BaseDatabaseWrapper, found: Iterable[tuple[str, str, str]]) -> None:
        """Take the rows of `query`, which may go out together with others."""
        self.connection, rows = connection, list(found)
        self.foreign = [sql.Identifier(schema, name) for schema, name, kind in rows if kind == "f"]
        self.others = [sql.Identifier(schema, name) for schema, name, kind in rows if kind != "f"]

    @classmethod
    def query(cls, table: str) -> sql.Composed:
        """Return the query for the constraints of a table: schema, name and kind of each."""
        return sql.SQL(DEFERRED).format(table=sql.Literal(table))

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper, table: str) -> Deferred:
        """Ask the server for the constraints of a table."""
        with connection.cursor() as cursor:
            cursor.execute(cls.query(table))
            return cls(connection, cursor.fetchall())

    @contextmanager
    def at_once(self, *, foreign: bool = True) -> Iterator[None]:
        """Check the constraints with each statement of the block.

        Where rows of earlier statements still break one, all of them go on waiting for the COMMIT.
        """
        names = [*self.others, *(self.foreign if foreign else [])]
        was_set = False
        if names:
            try:
                self._or_undo(_setting(names, "IMMEDIATE"))
                was_set = True
            except REFUSALS:
                pass
        yield
        if was_set:
            self._execute(_setting(names, "DEFERRED"))

    def check_foreign(self) -> None:
        """Check what the foreign keys have been waiting for; the first that is broken raises."""
        if self.foreign:
            self._or_undo(_setting(self.foreign, "IMMEDIATE"), _setting(self.foreign, "DEFERRED"))

    def _or_undo(self, *statements: sql.Composable) -> None:
        """Execute statements in one round trip; after a refusal the transaction goes on as it was before them.

        After any other error it is broken, for the caller's own savepoint to mend.
        """
        begin, end = sql.SQL("SAVEPOINT {}").format(SAVEPOINT), sql.SQL("RELEASE {}").format(SAVEPOINT)
        try:
            self._execute(begin, *statements, end)
        except REFUSALS:
            self._execute(sql.SQL("ROLLBACK TO {}").format(SAVEPOINT), end)
            raise

    def _execute(self, *statements: sql.Composable) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql.SQL("; ").join(statements))


def _setting(names: Sequence[sql.Identifier], when: LiteralString) -> sql.Composed:
    return sql.SQL("SET CONSTRAINTS {} {}").format(sql.SQL(", ").join(names), sql.SQL(when))


def rows_without_target(
    connection: BaseDatabaseWrapper, model: type[Model], constraint: str | None, ids: Sequence[Any]
) -> list[Any]:
    """Return those of the rows with these ids that point nowhere by this foreign key."""
    with connection.cursor() as cursor:
        cursor.execute(KEY_OF, [model._meta.db_table, constraint])
        found = cursor.fetchone()
        field = columns_of(model).get(found[0]) if found else None
        if field is None or not field.remote_field:
            return []
        target = field.foreign_related_fields[0]  # type: ignore[attr-defined]
        query = sql.SQL(
            "SELECT t.{id} FROM {table} t WHERE t.{id} = ANY({ids}) AND t.{column} IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM {remote} r WHERE r.{remote_column} = t.{column})"
        ).format(
            id=sql.Identifier(key_of(model)),
            table=sql.Identifier(model._meta.db_table),
            ids=sql.Placeholder(),
            column=sql.Identifier(column_of(field)),
            remote=sql.Identifier(target.model._meta.db_table),
            remote_column=sql.Identifier(column_of(target)),
        )
        cursor.execute(query, [list(ids)])
        return [row[0] for row in cursor.fetchall()]
