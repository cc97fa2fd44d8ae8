"""The async service: statements, transactions, errors, and where it may be used."""

import asyncio
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from django.db import (
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connections,
)
from django.db.transaction import TransactionManagementError
from psycopg import sql

from database.config import configure
from database.environment import Environment
from database.errors import PoolNotOpen, SignInRefused, StatementTimeout, UnknownDatabase, Unreachable
from database.service import Configuration, DatabaseService, Limits
from database.testing import wait_until
from database.tests.services import connections_of_service, on_server, run, service_on

CREATE = "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text UNIQUE)"
INSERT = "INSERT INTO notes (text) VALUES (%s)"


@pytest.fixture
def server(private_server):
    on_server(private_server, CREATE)
    return private_server


@contextmanager
def override_connection(alias, settings):
    connections.settings[alias] = settings
    try:
        yield
    finally:
        del connections.settings[alias]
        del connections[alias]


def stored(server):
    return on_server(server, "SELECT coalesce(array_agg(text ORDER BY id), '{}') FROM notes")


def test_statements_return_dictionaries_values_and_counts(server):
    async def use():
        async with service_on(server) as database:
            assert await database.execute(INSERT, "a") == 1
            assert await database.execute_many(INSERT, ([f"b{n}"] for n in range(2500))) == 2500
            assert await database.fetch("SELECT id, text FROM notes WHERE text = %s", "a") == [
                {"id": 1, "text": "a"}
            ]
            assert await database.fetch_one("SELECT text FROM notes WHERE id = %(id)s", {"id": 2}) == {
                "text": "b0"
            }
            assert await database.fetch_one("SELECT 1 FROM notes WHERE id = 0") is None
            assert await database.fetch_value("SELECT count(*) FROM notes") == 2501
            assert await database.fetch_value("SELECT 1 FROM notes WHERE id = 0") is None
            table = sql.SQL("DELETE FROM {} WHERE id > %s").format(sql.Identifier("notes"))
            assert await database.execute(table, 1) == 2500
            assert await database.fetch("CREATE TABLE other ()") == []

    run(use())


def test_times_are_utc(server):
    async def use():
        async with service_on(server) as database:
            now = await database.fetch_value("SELECT now()")
            assert now.utcoffset() == timedelta(0)
            assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
            assert await database.fetch_value("SHOW timezone") == "UTC"

    run(use())


def test_a_transaction_is_stored_whole_or_not_at_all(server):
    async def use():
        async with service_on(server) as database:
            async with database.transaction() as work:
                await work.execute(INSERT, "kept")
            with pytest.raises(ZeroDivisionError):
                async with database.transaction() as work:
                    await work.execute(INSERT, "dropped")
                    raise ZeroDivisionError
            with pytest.raises(IntegrityError):
                await database.execute_many(INSERT, [["first"], ["kept"]])

    run(use())
    assert stored(server) == ["kept"]


@pytest.mark.parametrize("nest_on", ["service", "session"])
def test_a_nested_transaction_is_a_savepoint(server, nest_on):
    async def use():
        async with service_on(server, max_size=1) as database, database.transaction() as outer:
            await outer.execute(INSERT, "outer")
            inner_of = database if nest_on == "service" else outer
            with pytest.raises(IntegrityError):
                async with inner_of.transaction() as inner:
                    await inner.execute(INSERT, "inner")
                    await inner.execute(INSERT, "outer")
            # The service too uses the connection that this task holds: the pool has no second one.
            await database.execute(INSERT, "after")
            assert database.pool_stats().used == 1

    run(use())
    assert stored(server) == ["outer", "after"]


def test_an_error_swallowed_inside_a_transaction_is_not_committed_in_silence(server):
    async def use():
        async with service_on(server) as database:
            with pytest.raises(TransactionManagementError, match="nothing of it is stored"):
                async with database.transaction() as work:
                    await work.execute(INSERT, "a")
                    with pytest.raises(IntegrityError):
                        await work.execute(INSERT, "a")
            assert database.pool_stats().used == 0
            assert await database.execute(INSERT, "b") == 1

    run(use())
    assert stored(server) == ["b"]


def test_errors_are_django_s_with_psycopg_s_as_the_cause_and_without_values(server):
    async def use():
        async with service_on(server) as database:
            await database.execute(INSERT, "secret@example.com")
            for take in (database.acquire, database.transaction):
                with pytest.raises(IntegrityError) as refused:
                    async with take() as session:
                        await session.execute(INSERT, "secret@example.com")
                assert isinstance(refused.value.__cause__, psycopg.errors.UniqueViolation)
                assert refused.value.__cause__.diag.constraint_name == "notes_text_key"
                assert "secret" not in str(refused.value) + str(refused.value.__cause__)
            with pytest.raises(ProgrammingError, match="does not exist"):
                await database.fetch("SELECT * FROM nowhere")
            # Also from psycopg's connection itself, which a session hands out.
            with pytest.raises(ProgrammingError):
                async with database.acquire() as session:
                    await session.connection.execute("SELECT * FROM nowhere")
            assert database.pool_stats().used == 0

    run(use())


def test_a_repeated_statement_is_prepared_on_the_server(server):
    async def use():
        async with service_on(server, max_size=1) as database:
            for _ in range(10):
                await database.fetch("SELECT text FROM notes WHERE id = %s", 1)
            return await database.fetch(
                "SELECT generic_plans + custom_plans AS runs FROM pg_prepared_statements WHERE statement ~ %s",
                "SELECT text FROM notes",
            )

    (prepared,) = run(use())
    assert prepared["runs"] > 1


def test_a_migration_under_prepared_statements_costs_no_query_and_one_transaction_at_most(server):
    query = "SELECT text FROM plans WHERE id = %s"

    async def use():
        async with service_on(server, min_size=1, max_size=1) as database:
            await database.execute("CREATE TABLE plans (id int PRIMARY KEY, text varchar(20))")
            await database.execute("INSERT INTO plans VALUES (1, 'kept')")
            for kind in ("text", "varchar(30)"):
                for _ in range(10):
                    await database.fetch(query, 1)
                with psycopg.connect(**server.conninfo) as migration:
                    migration.execute(f"ALTER TABLE plans ALTER text TYPE {kind}")
                if kind == "text":
                    assert await database.fetch_value(query, 1) == "kept"
                    continue
                with pytest.raises(NotSupportedError):
                    async with database.transaction() as work:
                        await work.fetch(query, 1)
                async with database.transaction() as work:
                    assert await work.fetch_value(query, 1) == "kept"

    run(use())


def test_behind_pgbouncer_nothing_is_prepared_and_no_option_sent_at_the_start(server):
    parameters = {**server.conninfo, "application_name": "behind"}
    configuration = Configuration("test:async", lambda: dict(parameters), Limits(1, 1), pgbouncer=True)
    assert "options" not in configuration.connect_arguments()

    async def use():
        async with DatabaseService(configuration=configuration) as database:
            for _ in range(10):
                await database.fetch("SELECT %s::int", 1)
            assert await database.fetch_value("SELECT count(*) FROM pg_prepared_statements") == 0
            assert await database.fetch_value("SHOW timezone") == "UTC"

    run(use())


@pytest.mark.django_db
def test_it_takes_the_database_and_the_limits_from_the_settings(settings):
    from django.db import connection

    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]

    async def use():
        async with DatabaseService(max_idle=7) as database:
            assert await database.fetch_value("SELECT current_database()") == connection.settings_dict["NAME"]
            assert database.pool_stats().max_size == pool["max_size"]
            assert database.configuration.client_timeout is None
            assert database.configuration.limits.max_lifetime == pool["max_lifetime"]
            assert database.configuration.limits.max_idle == 7
            assert await database.fetch_value("SELECT '{\"a\": 1}'::jsonb") == {"a": 1}

    run(use())


@pytest.mark.parametrize("mode", ["persistent", "pgbouncer"])
def test_the_modes_without_a_pool_of_django_s_have_its_limits_all_the_same(mode, settings):
    environment = Environment(
        {
            "DATABASE_URL": "postgresql://nobody@localhost/nowhere",
            "DB_POOL_MODE": mode,
            "DB_POOL_MIN_SIZE": "2",
            "DB_POOL_MAX_SIZE": "7",
            "DB_COMMAND_TIMEOUT": "4",
        },
        {},
    )
    configured = configure(environment, Path(), [], debug=False)
    database = {**configured.databases["default"], "TIME_ZONE": None, "ATOMIC_REQUESTS": False}
    settings.DATABASE_POOL_MODE = mode
    with override_connection("elsewhere", database):
        service = Configuration.of_alias("elsewhere")
    assert (service.limits.min_size, service.limits.max_size) == (2, 7)
    assert service.pgbouncer == (mode == "pgbouncer")
    assert service.client_timeout == (4 if mode == "pgbouncer" else None)


def test_the_client_s_limit_breaks_a_statement_off_where_the_server_has_none(server):
    configuration = Configuration(
        "test:async", lambda: dict(server.conninfo), Limits(1, 1), pgbouncer=True, client_timeout=0.05
    )

    async def use():
        async with DatabaseService(configuration=configuration) as database:
            with pytest.raises(StatementTimeout):
                await database.fetch("SELECT pg_sleep(100)")
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


def test_a_service_that_is_not_open_says_what_to_call(server):
    async def use():
        database = service_on(server)
        for state in ("is not open", "is closed"):
            for attempt in (database.fetch("SELECT 1"), database.acquire().__aenter__()):
                with pytest.raises(PoolNotOpen, match=rf"{state}.*await service\.open\(\)"):
                    await attempt
            with pytest.raises(PoolNotOpen):
                database.pool_stats()
            assert state in (await database.health_check()).problem
            await database.open()
            await database.open()
            assert await database.fetch_value("SELECT 1") == 1
            await database.close()
            await database.close()
        await database.open()
        assert await database.fetch_value("SELECT 1") == 1
        await database.close()

    run(use())


def test_those_who_wait_learn_that_the_service_was_closed(server):
    async def use():
        database = service_on(server, max_size=1)
        await database.open()
        async with database.acquire():
            waiting = asyncio.create_task(database.fetch("SELECT 1"))
            while not database.pool_stats().waiting:
                await asyncio.sleep(0)
            await database.close(grace=0)
        with pytest.raises(PoolNotOpen, match="is closed"):
            await waiting

    run(use())
    wait_until(lambda: connections_of_service(server) == 0)


def test_another_event_loop_is_told_to_open_its_own(server):
    database = service_on(server)

    async def use():
        async with database:
            await database.fetch("SELECT 1")

            async def elsewhere():
                with pytest.raises(PoolNotOpen, match="another event loop"):
                    await database.fetch("SELECT 1")

            await asyncio.to_thread(asyncio.run, elsewhere())
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


def child_of_fork(database):
    """What a forked child does: it is refused the inherited pool, then works over one of its own."""

    async def use():
        with pytest.raises(PoolNotOpen, match="parent process"):
            await database.fetch("SELECT 1")
        await database.open()
        assert await database.fetch_value("SELECT 1") == 1
        await database.close()

    run(use())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_never_touches_the_connections_of_its_parent(server):
    async def use():
        async with service_on(server, min_size=2) as database:
            async with database.acquire() as session:
                before = await session.fetch_value("SELECT pg_backend_pid()")
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        # The child has a copy of the running loop, in which it cannot start another.
                        asyncio.events._set_running_loop(None)
                        child_of_fork(database)
                        status = 0
                    finally:
                        os._exit(status)
                _, status = await asyncio.to_thread(os.waitpid, child, 0)
                assert os.waitstatus_to_exitcode(status) == 0
                assert await session.fetch_value("SELECT pg_backend_pid()") == before
            assert database.pool_stats().retired == {}

    run(use())


def test_a_session_that_gave_its_connection_back_cannot_be_used(server):
    async def use():
        async with service_on(server) as database:
            async with database.acquire() as session:
                pass
            with pytest.raises(InterfaceError, match="given its connection back"):
                await session.fetch("SELECT 1")

    run(use())


def test_tasks_have_connections_of_their_own(server):
    async def use():
        async with service_on(server) as database, database.transaction() as work:
            await work.execute(INSERT, "not committed yet")
            count = asyncio.create_task(database.fetch_value("SELECT count(*) FROM notes"))
            assert await count == 0

    run(use())
    assert stored(server) == ["not committed yet"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dbname": "nowhere"}, UnknownDatabase),
        ({"user": "nobody"}, SignInRefused),
        ({"host": "/nowhere"}, Unreachable),
    ],
)
def test_a_wrong_address_is_told_at_the_first_use(server, change, error):
    parameters = {**server.conninfo, **change, "password": "not-to-be-seen"}

    async def use():
        configuration = Configuration("test:async", lambda: dict(parameters), Limits(1, 1))
        async with DatabaseService(configuration=configuration) as database:
            with pytest.raises(error) as refused:
                await database.fetch("SELECT 1")
            health = await database.health_check()
            assert not health.ok
            assert health.problem == str(refused.value)
            assert "not-to-be-seen" not in str(refused.value) + repr(refused.value.__cause__)
            assert isinstance(refused.value, OperationalError)

    run(use())
