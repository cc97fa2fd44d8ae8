"""What another process needs to reach the test's database."""

from django.db import connection


def database_url() -> str:
    """Return the URL of the test's own database."""
    values = connection.get_connection_params()
    return f"postgresql://{values['user']}@/{values['dbname']}?host={values['host']}&port={values.get('port', 5432)}"
