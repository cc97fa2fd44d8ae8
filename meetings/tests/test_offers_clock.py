"""How slots are written."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from meetings.offers import Clock


@given(st.integers(0, 2**33), st.integers(-24 * 60 + 1, 24 * 60 - 1))
def test_a_clock_writes_as_isoformat_does(at, minutes):
    zone = timezone(timedelta(minutes=minutes))

    assert Clock(minutes * 60).text(at) == datetime.fromtimestamp(at, zone).isoformat()
    assert Clock(0).text(at) == datetime.fromtimestamp(at, UTC).isoformat()
