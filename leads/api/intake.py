"""Many leads at once: a file from staff, a batch from a partner."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import File, Router
from ninja.files import UploadedFile

from leads.api.schemas import MOST_TRANSFERRED, TransferIn, TransferOut, UploadOut
from leads.sheets import NoSheet
from leads.transfers import transfer
from leads.uploads import upload
from partners.access import partner_key
from scheduler.rest.access import caller, staff
from scheduler.rest.answers import json_answer
from scheduler.rest.bodies import judges_texts
from scheduler.rest.problems import Invalid, Problem

router = Router(tags=["leads"])


@router.post("/upload", auth=staff("leads.add_lead"), response=UploadOut)
def upload_leads(request: HttpRequest, file: File[UploadedFile]) -> HttpResponse:
    """Add the leads of a CSV file whose first line names the columns `name`, `phone` and perhaps `email`.

    Commas, semicolons, tabs and bars separate; UTF-8, UTF-16 and Latin-1 are understood. A wrong row costs no other
    row. Rows are stored in parts: after an answer that is no success, send the file again, and rows that are in
    already are named. With an Idempotency-Key all rows are in at the end, or none.
    """
    if not (file.name or "").lower().endswith(".csv"):
        raise Problem(400, "not_csv", "File must be a CSV")
    assert file.file is not None  # django-ninja has asked for it
    try:
        done = upload(file.file)
    except NoSheet as error:
        raise Invalid([("/file", str(error))]) from None
    return json_answer(
        {
            "success": True,
            "leads_created": done.created,
            "errors": done.sentences(),
            "error_count": done.refused,
            "rows": done.rows,
            "blank_rows": done.blank,
        }
    )


@router.post("/partner-transfer", auth=partner_key, response=TransferOut)
@judges_texts
def transfer_leads(request: HttpRequest, batch: TransferIn) -> HttpResponse:
    """Hand over up to 10,000 leads; each wrong or known one is named with its reason, and costs no other."""
    if len(batch.leads) > MOST_TRANSFERRED:
        raise Problem(413, "too_many_leads", f"A request takes at most {MOST_TRANSFERRED:,} leads.")
    partner_id = caller(request).partner_id
    assert partner_id is not None  # the route is for partners only
    done = transfer(batch.leads, partner_id)
    return json_answer(
        {
            "success": True,
            "total_submitted": done.submitted,
            "created": done.created,
            "skipped": done.skipped,
            "failed": done.failed,
            "errors": done.errors or None,
            "message": f"Successfully processed {done.created} out of {done.submitted} leads",
        }
    )
