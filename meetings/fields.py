from django.contrib.postgres.fields import RangeField
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField
from psycopg.types.range import TimestampRange


class TimestampRangeField(RangeField):
    """A `tsrange`: the UTC wall-clock span of a meeting.

    Django has `tstzrange` only, and `timestamptz + interval` is not immutable, so no generated column
    can be made of it.
    """

    base_field = DateTimeField
    range_type = TimestampRange  # type: ignore[assignment]

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "tsrange"
