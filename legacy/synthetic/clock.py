"""Write seconds since 1970 in the two forms the old application stores."""

from datetime import date
from functools import lru_cache

DAY = 86_400
# A fixed start (2025-01-06 08:00 UTC), so that the same seed gives the same file on any day.
START = 1_736_150_400
_EPOCH = date(1970, 1, 1).toordinal()
_TIMES = tuple(f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(DAY))


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return date.fromordinal(_EPOCH + number).isoformat()


def by_database(second: int) -> str:
    """Write a time as CURRENT_TIMESTAMP does: whole seconds."""
    return f"{_day(second // DAY)} {_TIMES[second % DAY]}"


def by_python(moment: float) -> str:
    """Write a time as SQLAlchemy does: always six digits after the second."""
    second = int(moment)
    return f"{by_database(second)}.{int((moment - second) * 1_000_000):06d}"
