"""A test's database brought back, in milliseconds, to what the migrations made of it.

After each test that commits, Django truncates every table and writes content types and permissions anew: a quarter of
a second, hundreds of times. Here only the tables that hold something are emptied, and the rows that migrations had made
come back from copies, with their ids: a test meets the same rows whichever tests ran before it.
"""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from psycopg import sql

SCHEMA = "pristine"
SMALL = 256 * 1024  # bytes; to truncate a larger table takes less time than to delete its rows

HOLDS = "SELECT {name} AS name, pg_relation_size({name}::regclass) AS size WHERE EXISTS (SELECT FROM {table})"
DIFFERS = """
SELECT {name}, 0 WHERE EXISTS (TABLE {table} EXCEPT TABLE {kept}) OR EXISTS (TABLE {kept} EXCEPT TABLE {table})
"""


class Pristine:
    """What a newly migrated database holds. Raises what PostgreSQL says when a table is gone."""

    def __init__(self, alias: str) -> None:
        """Copy the rows that are there into a schema of their own."""
        self.alias = alias
        connection = connections[alias]
        names = connection.introspection.django_table_names(only_existing=True)
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            # A database that is used again brings the copies along.
            cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
            cursor.execute(sql.SQL(" UNION ALL ").join(_of(name, HOLDS) for name in names))
            self.filled = {name for name, _ in cursor.fetchall()}
            for name in self.filled:
                cursor.execute(_of(name, "CREATE TABLE {kept} AS TABLE {table}"))
        looks = [_of(name, DIFFERS if name in self.filled else HOLDS) for name in names]
        self._look = sql.SQL(" UNION ALL ").join(looks)

    def restore(self) -> None:
        """Empty what tests filled, and put back what they changed."""
        with transaction.atomic(using=self.alias), connections[self.alias].cursor() as cursor:
            cursor.execute(self._look)
            touched = dict(cursor.fetchall())
            # First: rows that were deleted in the same transaction would be in the way of TRUNCATE.
            for name in [name for name, size in touched.items() if size > SMALL]:
                cursor.execute(_of(name, "TRUNCATE {table} CASCADE"))
                touched |= dict.fromkeys(self.filled, 0)  # they may refer to it
            # In any order, because foreign keys are looked at in the COMMIT.
            for name in touched:
                cursor.execute(_of(name, "DELETE FROM {table}"))
            for name in self.filled & set(touched):
                cursor.execute(_of(name, "INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {kept}"))
        if self.filled & set(touched):
            ContentType.objects.clear_cache()


def _of(name: str, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(
        name=sql.Literal(name),
        table=sql.Identifier(name),
        kept=sql.Identifier(SCHEMA, name),
    )
