"""Background jobs of the project itself; `manage.py procrastinate worker` runs them."""

from django.core.management import call_command
from procrastinate.contrib.django import app


@app.periodic(cron="17 3 * * *")
@app.task(queueing_lock="clear_expired_sessions")
def clear_expired_sessions(timestamp: int = 0) -> None:
    """Delete the sessions that have ended; nothing else does."""
    call_command("clearsessions")
