"""What imports from the old system noted about a lead, on its timeline."""

from leads.timeline import Source

NOTES = Source(
    "import",
    "legacy.view_importrownote",
    """
SELECT r.started_at AS at, 'import' AS kind, n.id, jsonb_build_object('lead', n.row_id, 'kind', n.kind,
    'column', n."column", 'reason', n.reason, 'run', n.run_id) AS data
FROM import_row_notes n JOIN import_runs r ON r.id = n.run_id
WHERE n.table_name = 'leads' AND n.row_id = ANY(%(leads)s) AND n.kind <> 'spelling'
    AND (r.started_at, n.id) < (%(at)s, %(id)s)
ORDER BY r.started_at DESC, n.id DESC LIMIT %(limit)s
""",
)
