"""Background jobs of leads; `manage.py procrastinate worker` runs them."""

from procrastinate.contrib.django import app

from leads import file_imports, tombstones


@app.task(queue="imports")
def import_leads(lead_import_id: int) -> None:
    """Import a file that staff have confirmed."""
    file_imports.run(lead_import_id)


@app.periodic(cron="37 3 * * *")
@app.task(queueing_lock="mark_erased_leads")
def mark_erased_leads(timestamp: int = 0) -> None:
    """Find leads of erased people that came without anybody asking: by raw SQL or bulk_create."""
    tombstones.stop_all_calls()


@app.periodic(cron="47 3 * * *")
@app.task(queueing_lock="sweep_lead_files")
def sweep_lead_files(timestamp: int = 0) -> None:
    """Delete files of leads that nobody has confirmed."""
    file_imports.sweep()
