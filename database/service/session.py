"""Statements and transactions on one connection, and the errors they raise.

`Statements` is what the service and a session have in common, so a function can take either: on the service every
call borrows a connection for itself, on a session all calls use the same one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from types import TracebackType
from typing import Any

import psycopg
from django.db import InterfaceError
from django.db.models import Model
from django.db.transaction import TransactionManagementError
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.transaction import AsyncTransaction

from database.bulk.rows import Rows
from database.errors import CommitOutcomeUnknown, StatementTimeout, Unreachable
from database.metrics import COMMAND_TIMEOUTS, COMMITS_UNKNOWN
from database.sentences import QUERY_CANCELED, Address, is_statement_timeout, translated
from database.service.bulk import copy_in, insertion_into
from database.service.connection import Deadline, Row, ServiceConnection, ServiceCursor

Query = str | sql.Composable
Parameters = Sequence[Any] | Mapping[str, Any]

BATCH = 1000  # rows; one pipeline of execute_many, so that its answers do not pile up in memory
# A statement that commits by itself and whose answer is lost may have been carried out, unless it only reads.
READS = re.compile(r"\s*(SELECT|SHOW|VALUES|TABLE)\b", re.IGNORECASE)


class Statements(ABC):
    """The statements of a service or a session. Placeholders are `%s`; one mapping gives `%(name)s`.

    `timeout` (seconds) breaks the statement off on the server and raises StatementTimeout; it can only be shorter than
    DB_COMMAND_TIMEOUT. All raise the errors of `database.errors` and Django's (IntegrityError, ...), with psycopg's
    as the cause.
    Outside a transaction a lost connection raises CommitOutcomeUnknown, except for a statement that starts with
    SELECT; a SELECT of a function that writes belongs in a transaction.
    """

    @abstractmethod
    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Session]:
        """Borrow a connection for several statements that need no transaction."""

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Commit what happens inside as a whole, or nothing of it; inside another transaction it is a savepoint.

        Yields a Session. `timeout` limits the wait for a connection. Raises CommitOutcomeUnknown when the connection is
        lost during COMMIT, Unreachable when it was lost before (nothing is stored), and TransactionManagementError
        when a statement failed inside and its error was swallowed.
        """
        return Transaction(self, timeout)

    async def fetch(self, query: Query, *params: Any, timeout: float | None = None) -> list[Row]:
        """Return all rows, as dictionaries."""
        async with self.acquire() as session:
            cursor = await session.run(query, params, timeout)
            return await cursor.fetchall() if cursor.description else []

    async def fetch_one(self, query: Query, *params: Any, timeout: float | None = None) -> Row | None:
        """Return the first row, None when there is none."""
        async with self.acquire() as session:
            cursor = await session.run(query, params, timeout)
            return await cursor.fetchone() if cursor.description else None

    async def fetch_value(self, query: Query, *params: Any, timeout: float | None = None) -> Any:
        """Return the first column of the first row, None when there is none."""
        row = await self.fetch_one(query, *params, timeout=timeout)
        return next(iter(row.values())) if row else None

    async def execute(self, query: Query, *params: Any, timeout: float | None = None) -> int:
        """Run one statement; return the number of rows it touched (-1 where there is no such number)."""
        async with self.acquire() as session:
            return (await session.run(query, params, timeout)).rowcount

    async def execute_many(self, query: Query, rows: Iterable[Parameters]) -> int:
        """Run one statement for each of `rows`, all or none; return how many rows they touched.

        `rows` may be of any length. For inserting, `bulk_insert` is several times quicker.
        """
        touched = 0
        remaining = iter(rows)
        async with self.transaction() as session:
            while batch := list(islice(remaining, BATCH)):
                touched += await session.run_many(query, batch)
        return touched

    async def bulk_insert(
        self, model: type[Model], rows: Rows, *, columns: Iterable[str] | None = None
    ) -> Sequence[Any]:
        """Insert rows by COPY, all or none, and return their ids in the order of the rows.

        `rows` is any iterable, of any length, of dicts, of instances, or of tuples in the order of `columns`. Takes
        part in the transaction of the task. Raises FieldError for wrong columns, ValueRefused for a value that does
        not fit and RowRefused, with the row's position, for one that a constraint forbids; foreign keys are
        checked at COMMIT.
        """
        insertion = insertion_into(model, rows, columns)
        async with self.transaction() as session:
            return await copy_in(session, insertion)


class Session(Statements):
    """One connection, held by the task that took it; `connection` is psycopg's, for COPY, cursors and pipelines."""

    def __init__(
        self, connection: ServiceConnection, *, label: str, address: Address, client_timeout: float | None
    ) -> None:
        self._connection: ServiceConnection | None = connection
        self._label = label
        self._address = address
        self._client_timeout = client_timeout

    @property
    def connection(self) -> ServiceConnection:
        if self._connection is None:
            raise InterfaceError("This session has given its connection back; call `acquire()` again.")
        return self._connection

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Session]:
        return Borrowed(self)

    def release(self) -> ServiceConnection:
        """Part from the connection, so that nobody uses it after it has been given back."""
        connection, self._connection = self.connection, None
        return connection

    async def run(self, query: Query, params: Sequence[Any], timeout: float | None) -> ServiceCursor:
        """Execute and return the cursor; for what the other methods do not offer."""
        connection = self.connection
        commits = not connection.in_transaction
        cursor: Any = connection.cursor()
        limit = timeout or self._client_timeout
        deadline = Deadline(connection, limit) if limit else None
        try:
            if deadline is None:
                await cursor.execute(query, _arguments(params))
            else:
                async with deadline:
                    await cursor.execute(query, _arguments(params))
        except psycopg.Error as error:
            broken_off = deadline is not None and deadline.expired
            raise self.refusal(error, query if commits else None, limit if broken_off else None) from error
        return cursor

    async def run_many(self, query: Query, batch: Sequence[Parameters]) -> int:
        """Execute once for each of `batch` in one pipeline; return how many rows were touched."""
        cursor: Any = self.connection.cursor()
        commits = not self.connection.in_transaction
        try:
            await cursor.executemany(query, batch)
        except psycopg.Error as error:
            raise self.refusal(error, query if commits else None) from error
        return max(cursor.rowcount, 0)

    def refusal(
        self, error: psycopg.Error, committing: Query | None, broken_off_after: float | None = None
    ) -> BaseException:
        """Return what to raise. `committing` is the statement that would have committed by itself, if it would."""
        if broken_off_after is not None and (error.sqlstate == QUERY_CANCELED or self._lost(error)):
            COMMAND_TIMEOUTS.labels(self._label).inc()
            if self._lost(error) and committing is not None and not _only_reads(committing):
                return self._outcome_unknown(error)
            translated(error, where=self._address)
            return StatementTimeout(f"The statement was broken off after {broken_off_after:g} s.")
        if is_statement_timeout(error):
            COMMAND_TIMEOUTS.labels(self._label).inc()
        if self._lost(error):
            if committing is not None and not _only_reads(committing):
                return self._outcome_unknown(error)
            return self._unreachable(error)
        return translated(error, where=self._address)

    def commit_refusal(self, error: psycopg.Error) -> BaseException:
        """Return what to raise for an error that came as the answer to COMMIT."""
        return self._outcome_unknown(error) if self._lost(error) else translated(error, where=self._address)

    def lost_before_commit(self) -> BaseException:
        return Unreachable(
            f"The connection to {self._address} was lost before COMMIT: nothing of it is stored."
        )

    def _lost(self, error: psycopg.Error) -> bool:
        # 57P01 to 57P05: the server ends the connection; its socket may not be closed yet.
        return self.connection.closed or (error.sqlstate or "").startswith("57P")

    def _unreachable(self, error: psycopg.Error) -> BaseException:
        reason = translated(error, where=self._address)
        return Unreachable(f"The connection to {self._address} was lost: {str(reason).rstrip('.')}.")

    def _outcome_unknown(self, error: psycopg.Error) -> BaseException:
        COMMITS_UNKNOWN.inc()
        translated(error, where=self._address)  # for its cleaning of the cause
        return CommitOutcomeUnknown(
            f"The connection to {self._address} was lost before the answer came: the change is stored whole or not "
            "at all; look before you repeat it."
        )


class Borrowed(AbstractAsyncContextManager[Session]):
    """A session that somebody else holds: entering and leaving do nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def __aenter__(self) -> Session:
        return self._session

    async def __aexit__(self, *_: object) -> None:
        return None


class Transaction(AbstractAsyncContextManager[Session]):
    """A transaction, or a savepoint where the connection is in one already."""

    def __init__(self, statements: Statements, timeout: float | None) -> None:
        self._holding = statements.acquire(timeout=timeout)

    async def __aenter__(self) -> Session:
        self._session = await self._holding.__aenter__()
        try:
            connection = self._session.connection
            self.outermost = not connection.in_transaction
            self._block = AsyncTransaction(connection)
            await self._block.__aenter__()
        except psycopg.Error as error:
            refusal = self._session.refusal(error, None)
            await self._holding.__aexit__(type(refusal), refusal, refusal.__traceback__)
            raise refusal from error
        except BaseException as error:
            await self._holding.__aexit__(type(error), error, error.__traceback__)
            raise
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            swallowed = await self._finish(kind, error, traceback)
        except BaseException as failure:
            await self._holding.__aexit__(type(failure), failure, failure.__traceback__)
            raise
        if swallowed:
            kind, error, traceback = None, None, None
        await self._holding.__aexit__(kind, error, traceback)
        return swallowed

    async def _finish(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if error is not None:
            return await self._block.__aexit__(kind, error, traceback)
        await self._check_before_commit()
        try:
            await self._block.__aexit__(None, None, None)
        except psycopg.Error as failure:
            if self.outermost:
                raise self._session.commit_refusal(failure) from failure
            raise self._session.refusal(failure, None) from failure
        return False

    async def _check_before_commit(self) -> None:
        """Tell the sure losses from the doubtful ones: what breaks before COMMIT is sent stored nothing."""
        connection = self._session.connection
        if not connection.alive():
            # psycopg would leave the block without a word.
            raise self._session.lost_before_commit()
        if connection.pgconn.transaction_status == TransactionStatus.INERROR:
            # PostgreSQL answers COMMIT with ROLLBACK here, and that is no error to psycopg.
            failure = TransactionManagementError(
                "A statement failed inside the transaction and its error was swallowed, so nothing of it is stored; "
                "put the statement into a nested `transaction()`."
            )
            await self._block.__aexit__(type(failure), failure, None)
            raise failure


def _arguments(params: Sequence[Any]) -> Parameters | None:
    if not params:
        return None
    if len(params) == 1 and isinstance(params[0], Mapping):
        return params[0]
    return params


def _only_reads(query: Query) -> bool:
    text = query if isinstance(query, str) else query.as_string(None)
    return READS.match(text) is not None
