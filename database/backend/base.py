"""PostgreSQL as Django knows it, except that the embedded server is started by the first connection."""

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    pass
