"""Which database is in force, from where, and how it is connected to."""

from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

CONNECT_TIMEOUT = 5  # seconds
FACTS = """
    SELECT current_setting('server_version'), current_database(), current_user,
           current_setting('statement_timeout')
"""


def database_info(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """Connect and describe the database; no password is ever part of the answer.

    `pool` is None unless the pool mode is "pool"; times are seconds.
    """
    connection = connections[alias]
    configured = connection.settings_dict
    # Not through the pool: it hides why it cannot connect, and for 30 s.
    parameters = {"connect_timeout": CONNECT_TIMEOUT, **connection.get_connection_params()}
    with connection.wrap_database_errors, psycopg.connect(**parameters) as direct:
        ((version, database, user, statement_timeout),) = direct.execute(FACTS).fetchall()
        host, port = direct.info.host or direct.info.hostaddr, direct.info.port
    return {
        "engine": connection.display_name,
        "server_version": version,
        "host": host,
        "port": port,
        "database": database,
        "user": user,
        "url_from": settings.DATABASE_URL_SOURCE,
        "pool_mode": settings.DATABASE_POOL_MODE,
        "pool": configured["OPTIONS"].get("pool"),
        "conn_max_age": configured["CONN_MAX_AGE"],
        "statement_timeout": statement_timeout,
    }
