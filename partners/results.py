"""What came of the leads of partners: calls, meetings and the booking rate.

Small databases are counted when a page asks. On large ones that would take seconds, so that a background job counts
every quarter of an hour (`partners.tasks`), and pages read what it stored and say when that was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from partners.models import Partner, PartnerResult

COUNTED_AT_ONCE = 200_000  # leads and calls together; counted within some 100 ms

# As in docs/analytics.md: a meeting counts as booked while it is scheduled, confirmed or completed.
COUNTS = """
SELECT p.id, coalesce(l.leads, 0), coalesce(c.calls, 0), coalesce(m.meetings, 0)
FROM unnest(%(partners)s::bigint[]) AS p(id)
LEFT JOIN (SELECT partner_id, count(*) AS leads FROM leads
    WHERE partner_id = ANY(%(partners)s) GROUP BY 1) l ON l.partner_id = p.id
LEFT JOIN (SELECT partner_id, count(*) AS calls FROM calls JOIN leads ON leads.id = calls.lead_id
    WHERE partner_id = ANY(%(partners)s) GROUP BY 1) c ON c.partner_id = p.id
LEFT JOIN (SELECT partner_id, count(*) AS meetings FROM meetings JOIN leads ON leads.id = meetings.lead_id
    WHERE partner_id = ANY(%(partners)s) AND meetings.status IN ('scheduled', 'confirmed', 'completed')
    GROUP BY 1) m ON m.partner_id = p.id
"""
STORE = f"""
INSERT INTO partner_results (partner_id, leads, calls, meetings, counted_at)
SELECT counted.*, now() FROM ({COUNTS}) counted
ON CONFLICT (partner_id) DO UPDATE SET leads = excluded.leads, calls = excluded.calls,
    meetings = excluded.meetings, counted_at = excluded.counted_at
"""
SIZE = "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid IN ('leads'::regclass, 'calls'::regclass)"


@dataclass(frozen=True, slots=True)
class Results:
    """`counted_at` is None for what was counted just now."""

    leads: int
    calls: int
    meetings: int
    counted_at: datetime | None = None

    @property
    def booking_rate(self) -> float | None:
        """Booked meetings per 100 calls; None without a call."""
        return 100 * self.meetings / self.calls if self.calls else None


def results_of(partner_ids: Iterable[int]) -> dict[int, Results]:
    """Return the results of partners in two statements; on a large database those not counted yet are missing."""
    ids = list(partner_ids)
    with connection.cursor() as cursor:
        cursor.execute(SIZE)
        if (cursor.fetchone()[0] or 0) <= COUNTED_AT_ONCE:
            cursor.execute(COUNTS, {"partners": ids})
            return {row[0]: Results(*row[1:]) for row in cursor.fetchall()}
    stored = PartnerResult.objects.filter(pk__in=ids)
    return {each.pk: Results(each.leads, each.calls, each.meetings, each.counted_at) for each in stored}


def store_results() -> int:
    """Count the results of all partners and keep them; return the number of partners."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        ids = list(Partner.objects.order_by("pk").values_list("pk", flat=True))
        cursor.execute(STORE, {"partners": ids})
        PartnerResult.objects.exclude(pk__in=ids).delete()
    return len(ids)
