"""What is raised, and said, for each thing that can go wrong between us and a real server."""

import socket
import threading
import traceback
from collections.abc import Iterator

import psycopg
import pytest
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connections
from prometheus_client import REGISTRY

from database import errors
from database.retry import cause_of
from database.sentences import Address, translated
from database.testing import free_port, throw_away_server
from database.tests.pools import ALIAS, ask, database, database_allowed, pool_of

__all__ = ["database_allowed"]

SECRET = "hunter2-and-3"
PHONE = "+15550107788"
RULES = (
    "local all all trust\n"
    "hostssl all encrypted 127.0.0.1/32 scram-sha-256\n"
    "host all worker 127.0.0.1/32 scram-sha-256\n"
)
MODES = ["pool", "persistent", "pgbouncer"]


@pytest.fixture(scope="module")
def server(server_template) -> Iterator:
    with throw_away_server(server_template, tcp_port=free_port(), tcp_rules=RULES) as running:
        with psycopg.connect(**running.conninfo, autocommit=True) as admin:
            admin.execute(f"CREATE ROLE worker LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 2")
            admin.execute(f"CREATE ROLE encrypted LOGIN PASSWORD '{SECRET}'")
            admin.execute("GRANT CREATE ON SCHEMA public TO worker")
            admin.execute(
                "CREATE TABLE people (phone text CONSTRAINT one_phone UNIQUE, age int CHECK (age > 0))"
            )
            admin.execute("GRANT ALL ON people TO worker")
        yield running


def url_of(server, user="worker", password=SECRET, host="127.0.0.1", name="ai_scheduler", options="") -> str:
    return f"postgresql://{user}:{password}@{host}:{server.tcp_port}/{name}{options}"


def refusal(url: str, mode: str) -> BaseException:
    """Return what a request gets, after a look for the password in all that would be printed of it."""
    with database(url, DB_POOL_MODE=mode) as handler:
        with pytest.raises(OperationalError) as raised:
            ask(handler)
        return harmless(raised.value)


def harmless(error: BaseException) -> BaseException:
    printed = "".join(traceback.format_exception(error))
    cause = error.__cause__
    for text in (str(error), repr(error), printed, repr(cause), repr(vars(cause)) if cause else ""):
        assert SECRET not in text
        assert PHONE not in text
    assert isinstance(cause, psycopg.Error)
    assert cause.pgconn is None
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("mode", MODES)
def test_wrong_password(server, mode):
    error = refusal(url_of(server, password=SECRET + "-not"), mode)

    assert type(error) is errors.SignInRefused
    assert str(error) == (f'PostgreSQL at 127.0.0.1:{server.tcp_port} refuses user "worker": wrong password.')


def test_unknown_user_and_no_password(server):
    unknown = refusal(url_of(server, user="nobody"), "pool")
    assert type(unknown) is errors.SignInRefused
    assert "pg_hba.conf has no entry" in str(unknown)

    silent = refusal(f"postgresql://worker@127.0.0.1:{server.tcp_port}/ai_scheduler", "pool")
    assert type(silent) is errors.SignInRefused
    assert "no password in the URL" in str(silent)


@pytest.mark.parametrize("mode", MODES)
def test_unknown_database(server, mode):
    error = refusal(url_of(server, name="elsewhere"), mode)

    assert type(error) is errors.UnknownDatabase
    assert str(error) == f'PostgreSQL at 127.0.0.1:{server.tcp_port} has no database "elsewhere".'


@pytest.mark.parametrize("mode", MODES)
def test_nobody_listens(mode):
    port = free_port()
    error = refusal(f"postgresql://worker:{SECRET}@127.0.0.1:{port}/calls", mode)

    assert type(error) is errors.Unreachable
    assert str(error) == f"No PostgreSQL answers at 127.0.0.1:{port}: the connection was refused."


def test_unknown_host(server):
    error = refusal(url_of(server, host="no-such-host.invalid"), "pool")

    assert type(error) is errors.Unreachable
    assert str(error).endswith("the host name is unknown.")


def test_a_host_that_accepts_and_says_nothing(server):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://worker:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/calls?connect_timeout=2"
        error = refusal(url, "pool")

    assert type(error) is errors.Unreachable
    assert str(error).endswith("no answer in time.")


@pytest.mark.parametrize(
    ("user", "options", "reason"),
    [
        ("worker", "?sslmode=require", "does not fit sslmode=require: the server offers no encryption."),
        ("encrypted", "?sslmode=disable", "does not fit sslmode=disable: the server lets nobody in without"),
        ("worker", "?sslmode=always", "does not fit sslmode=always: there is no such mode."),
    ],
)
def test_encryption_that_does_not_fit(server, user, options, reason):
    error = refusal(url_of(server, user=user, options=options), "pool")

    assert type(error) is errors.EncryptionRefused
    assert reason in str(error)


@pytest.mark.parametrize("mode", MODES)
def test_too_many_connections(server, mode):
    kept = [psycopg.connect(url_of(server)) for _ in range(2)]
    try:
        error = refusal(url_of(server), mode)
    finally:
        for connection in kept:
            connection.close()

    assert type(error) is errors.TooManyConnections
    assert str(error) == (
        f"PostgreSQL at 127.0.0.1:{server.tcp_port} takes no more connections "
        "(max_connections, or a limit of the user or the database)."
    )


def test_a_pool_that_cannot_grow_waits_for_its_own_connections_and_then_says_why(server):
    with database(url_of(server), DB_POOL_MAX_SIZE="4", DB_POOL_TIMEOUT="2") as handler:
        pool = pool_of(handler)
        pool.open()
        held = [pool.getconn() for _ in range(2)]
        with pytest.raises(errors.TooManyConnections):
            ask(handler)
        pool.putconn(held.pop())
        assert ask(handler, "SELECT 'served'") == "served"
        pool.putconn(held.pop())


@pytest.mark.parametrize("mode", ["pool", "persistent"])
def test_a_statement_over_the_timeout(server, mode):
    def count() -> float:
        return REGISTRY.get_sample_value("scheduler_command_timeouts_total", {"alias": ALIAS}) or 0.0

    before = count()
    with database(url_of(server), DB_POOL_MODE=mode, DB_COMMAND_TIMEOUT="0.1") as handler:
        with pytest.raises(errors.StatementTimeout) as raised:
            ask(handler, "SELECT pg_sleep(60)")
        assert ask(handler, "SELECT 'still served'") == "still served"
    assert isinstance(harmless(raised.value).__cause__, psycopg.errors.QueryCanceled)
    assert count() == before + 1


def test_a_timeout_that_the_role_carries_works_in_transaction_pooling(server):
    with psycopg.connect(**server.conninfo, autocommit=True) as admin:
        admin.execute("ALTER ROLE worker SET statement_timeout = '100ms'")
    try:
        with database(url_of(server), DB_POOL_MODE="pgbouncer") as handler:
            with pytest.raises(errors.StatementTimeout):
                ask(handler, "SELECT pg_sleep(60)")
            with connections[ALIAS].schema_editor() as editor:
                editor.execute("SELECT pg_sleep(0.3)")
        with database(url_of(server), DB_COMMAND_TIMEOUT="0") as handler:
            assert ask(handler, "SELECT pg_sleep(0.3)::text") == ""
    finally:
        with psycopg.connect(**server.conninfo, autocommit=True) as admin:
            admin.execute("ALTER ROLE worker RESET statement_timeout")


def test_migrations_are_exempt_wherever_they_run_and_the_limit_is_back_afterwards(server):
    with database(url_of(server), DB_COMMAND_TIMEOUT="0.1", DB_POOL_MAX_SIZE="1") as handler:
        for atomic in (True, False):
            with handler[ALIAS].schema_editor(atomic=atomic) as editor:
                editor.execute("SELECT pg_sleep(0.3)")
            assert ask(handler, "SHOW statement_timeout") == "100ms"


def test_a_statement_that_a_person_broke_off_is_no_timeout(server):
    with database(server) as handler:
        connection = handler[ALIAS]
        connection.ensure_connection()
        timer = threading.Timer(0.2, connection.connection.cancel_safe)
        timer.start()
        with pytest.raises(OperationalError, match="user request") as raised:
            ask(handler, "SELECT pg_sleep(60)")
        timer.join()
    assert type(raised.value) is OperationalError


@pytest.mark.parametrize(
    ("kind", "query", "parameters"),
    [
        (IntegrityError, "INSERT INTO people VALUES (%s, 1), (%s, 2)", (PHONE, PHONE)),
        (IntegrityError, "INSERT INTO people VALUES (%s, -1)", (PHONE,)),
        (DataError, "SELECT %s::int", (PHONE + "x",)),
        (DataError, "SELECT %s::timestamptz", (PHONE + ' "x" ',)),
        (ProgrammingError, "SELECT nothing FROM people WHERE phone = %s", (PHONE,)),
        (ProgrammingError, "SELECT %s FROM FROM", (PHONE,)),
    ],
)
def test_no_value_of_a_row_is_in_what_is_printed(server, kind, query, parameters):
    with database(server) as handler, pytest.raises(kind) as raised:
        ask(handler, query, *parameters)

    assert type(harmless(raised.value)) is kind
    assert raised.value.__cause__.diag.sqlstate


def test_the_cause_still_names_the_constraint(server):
    with database(server) as handler, pytest.raises(IntegrityError) as raised:
        ask(handler, "INSERT INTO people VALUES (%s, 1), (%s, 2)", PHONE, PHONE)

    assert str(raised.value) == 'duplicate key value violates unique constraint "one_phone"'
    cause = raised.value.__cause__
    assert isinstance(cause, psycopg.errors.UniqueViolation)
    assert cause.diag.constraint_name == "one_phone"
    assert PHONE in (cause.diag.message_detail or "")


def test_copy_quotes_no_line_of_the_data(server):
    with database(server) as handler:
        cursor = handler[ALIAS].cursor()
        with pytest.raises(psycopg.Error) as raised, cursor.copy("COPY people FROM STDIN") as copy:
            copy.write(f"{PHONE}\tx\n")
        handler[ALIAS].close()
    assert PHONE not in "".join(traceback.format_exception(raised.value))


def test_what_is_not_of_the_driver_comes_back_unchanged():
    error = ValueError("other")

    assert translated(error, where=Address()) is error


@pytest.mark.parametrize("options", ["-c statement_timeout=99999999999999", "-c nothing=1"])
def test_a_setting_that_the_server_refuses_is_not_taken_for_an_absent_server(private_server, options):
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(**private_server.conninfo, options=options)

    told = translated(refused.value, where=Address(host="db.example"))

    assert type(told) is OperationalError
    assert cause_of(told) is None
