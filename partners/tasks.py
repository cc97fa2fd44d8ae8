"""Background jobs on partners; `manage.py procrastinate worker` runs them."""

from procrastinate.contrib.django import app

from partners.results import store_results


@app.periodic(cron="*/15 * * * *")
@app.task(queueing_lock="count_partner_results")
def count_partner_results(timestamp: int = 0) -> None:
    """Count leads, calls and meetings of each partner for the pages that show them."""
    store_results()
