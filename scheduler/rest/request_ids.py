"""An id for each request: in its answer, in its problem and in every log record written meanwhile."""

import os
import re
from contextvars import ContextVar
from logging import Filter, LogRecord

# Short and plain, so that a caller's id can neither break a line of the log nor carry anything into a page.
SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")


def id_for(proposed: str | None) -> str:
    """Return the id that a caller proposed if it is sane, else a fresh one of 32 hex digits."""
    return proposed if proposed and SANE.fullmatch(proposed) else os.urandom(16).hex()


class RequestIdFilter(Filter):
    """Give each record the attribute `request_id`; `-` outside of requests to the API."""

    def filter(self, record: LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
