import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from calls.models import Call, Turn
from leads.models import Lead
from legacy.models import ImportRowDigest, ImportRowNote, ImportRun
from legacy.schema import create_schema
from legacy.stored import model_of
from legacy.tables import BY_NAME, IMPORTED_HOST, TABLES
from legacy.target import BUCKET_BITS, digest_sql
from legacy.tests.files import opened, rows
from legacy.values import read_text, to_json
from meetings.models import Meeting, MeetingHost
from partners.models import Partner, PartnerApiKey, digest_of
from scheduler.models import Setting

# The export reads in a transaction of its own kind, so the rows of a test have to be committed.
pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2025, 11, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "old.db"


@pytest.fixture
def run() -> ImportRun:
    return ImportRun.objects.create(source_path="ai_scheduler.db", source_bytes=1)


def values(path: Path, table: str) -> list[dict[str, Any]]:
    return [{name: cell[1] for name, cell in row.items()} for row in rows(path, table).values()]


def schema(path: Path) -> list[tuple[str, str]]:
    with opened(path) as file:
        return file.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def export(path: Path, *options: str, capsys: pytest.CaptureFixture[str] | None = None) -> str:
    call_command("export_to_sqlite", str(path), *options)
    return capsys.readouterr().out if capsys else ""


def failure(path: Path, *options: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        call_command("export_to_sqlite", str(path), *options)
    return caught.value.returncode, str(caught.value)


def lead(phone: str = "+14155550134", **values: Any) -> Lead:
    return Lead.objects.create(**{"name": "Anna", "phone": phone, **values})


def meeting(of: Lead, minute: int = 0, **values: Any) -> Meeting:
    host, _ = MeetingHost.objects.get_or_create(name=IMPORTED_HOST)
    return Meeting.objects.create(lead=of, host=host, scheduled_time=NOON + timedelta(hours=minute), **values)


def remember() -> None:
    """Keep the digests of all rows, as an import leaves them."""
    ImportRowDigest.objects.all().delete()
    for table in TABLES:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT t.id, {digest_sql(table)} FROM {table.from_clause} ORDER BY t.id")
            for row_id, digest in cursor.fetchall():
                bucket, _ = ImportRowDigest.objects.get_or_create(
                    table_name=table.name,
                    bucket=row_id >> BUCKET_BITS,
                    defaults={"row_ids": [], "digests": []},
                )
                bucket.row_ids.append(row_id)
                bucket.digests.append(digest)
                bucket.save()


def note(run: ImportRun, row: Any, column: str, original: Any, kind: str = "repaired") -> None:
    ImportRowNote.objects.create(
        run=run,
        table_name=row._meta.db_table,
        row_id=row.pk,
        kind=kind,
        column=column,
        original=to_json(original),
        reason="for the test",
    )


def test_rows_are_written_as_the_old_application_wrote_them(target: Path) -> None:
    partner = Partner.objects.create(name="Acme", rate_limit=60, is_active=False)
    _, key = PartnerApiKey.issue(partner)
    person = lead(partner=partner, status="meeting_scheduled", email="a@example.com", country_code="+1")
    call = Call.objects.create(
        lead=person,
        duration=61,
        outcome="interested",
        started_at=NOON,
        ended_at=NOON + timedelta(microseconds=120),
        created_at=NOON,
    )
    Turn.objects.create(call=call, turn=1, role="ai", message="Hello?", created_at=NOON)
    meeting(person, call=call, duration=30, status="no_show")
    setting = Setting.objects.create(key="max_concurrent_calls", value="5")
    export(target)
    (written,) = values(target, "partners")
    assert (written["api_key"], written["is_active"], written["rate_limit"]) == (digest_of(key), 0, 60)
    (written,) = values(target, "leads")
    assert (written["id"], written["partner_id"]) == (person.pk, partner.pk)
    assert (written["status"], written["country_code"]) == ("MEETING_SCHEDULED", "+1")
    assert written["created_at"] == f"{person.created_at:%Y-%m-%d %H:%M:%S.%f}"
    (written,) = values(target, "calls")
    assert (written["started_at"], written["ended_at"]) == (
        "2025-11-02 12:00:00",
        "2025-11-02 12:00:00.000120",
    )
    assert (written["outcome"], repr(written["duration"]), written["summary"]) == ("INTERESTED", "61.0", None)
    (written,) = values(target, "conversation_history")
    assert (written["call_id"], written["role"], written["message"]) == (call.pk, "AI", "Hello?")
    (written,) = values(target, "meetings")
    assert (written["scheduled_time"], written["status"]) == ("2025-11-02 12:00:00.000000", "NO_SHOW")
    (written,) = values(target, "settings")
    assert (written["id"], written["key"], written["value"]) == (setting.pk, "max_concurrent_calls", "5")


def test_the_file_has_the_tables_and_indexes_of_revision_7(target: Path, tmp_path: Path) -> None:
    meeting(lead(), calendar_event_id="evt1")
    export(target)
    with opened(tmp_path / "model.db") as file:
        create_schema(file, 7)
    assert schema(target) == schema(tmp_path / "model.db")
    with opened(target) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("original", ["0041 44 668 18 00", b"\xff\xfe", "a\0b", 41, 4.5, b"", None], ids=repr)
def test_an_original_comes_back_with_its_type_unless_the_row_was_changed(
    target: Path, run: ImportRun, original: Any
) -> None:
    text = original if not isinstance(original, bytes) or not original else read_text(original)
    kept, changed = lead("+41446681800"), lead("+41446681801")
    note(run, kept, "phone", text)
    note(run, changed, "phone", text)
    remember()
    Lead.objects.filter(pk=changed.pk).update(name="Bea")
    export(target)
    kinds = {str: "text", int: "integer", float: "real", type(None): "null"}
    expected = "text" if original else kinds.get(type(original), "blob")
    expected = kinds.get(type(original), expected)
    found = rows(target, "leads")
    assert found[kept.pk]["phone"] == (expected, original)
    assert found[changed.pk]["phone"] == ("text", "+41446681801")
    assert found[changed.pk]["name"] == ("text", "Bea")


@pytest.mark.parametrize(
    "original", ["12.5", "", " 90 ", "abc", 90, -1.5, float("-inf"), 1e22, b"\0"], ids=repr
)
def test_a_duration_comes_back_with_its_type(target: Path, run: ImportRun, original: Any) -> None:
    call = Call.objects.create(lead=lead())
    note(run, call, "duration", original)
    remember()
    export(target)
    ((kind, value),) = (row["duration"] for row in rows(target, "calls").values())
    assert (kind, value) == (
        {str: "text", int: "integer", float: "real", bytes: "blob"}[type(original)],
        original,
    )


def test_only_columns_that_must_hold_odd_originals_are_loosened(
    target: Path, run: ImportRun, capsys: pytest.CaptureFixture[str]
) -> None:
    person = lead()
    for column, original in {"created_at": " 1.73e9", "updated_at": "2025-11-02", "name": None}.items():
        note(run, person, column, original)
    note(run, person, "status", "ARCHIVED")
    remember()
    assert "hold what the old file had: leads.created_at, leads.name." in export(target, capsys=capsys)
    sql = dict(schema(target))["leads"]
    assert "\tcreated_at DEFAULT (CURRENT_TIMESTAMP), \n" in sql
    assert "\tname VARCHAR(255), \n" in sql
    assert "\tstatus VARCHAR(17) NOT NULL, \n" in sql
    (row,) = rows(target, "leads").values()
    assert row["created_at"] == ("text", " 1.73e9")
    assert row["updated_at"] == ("text", "2025-11-02")


def test_columns_that_nobody_declared_are_added_and_kept_even_if_the_row_changed(
    target: Path, run: ImportRun, capsys: pytest.CaptureFixture[str]
) -> None:
    person, other = lead(), lead("+14155550135")
    note(run, person, 'priority "anna"', "VIP")
    remember()
    Lead.objects.update(status="queued")
    assert 'had them: leads.priority "anna".' in export(target, capsys=capsys)
    found = rows(target, "leads")
    assert found[person.pk]['priority "anna"'] == ("text", "VIP")
    assert found[other.pk]['priority "anna"'] == ("null", None)
    assert found[person.pk]["status"] == ("text", "QUEUED")


def test_a_recovered_id_and_notes_of_rejected_rows_and_conflicts_change_nothing(
    target: Path, run: ImportRun
) -> None:
    call = Call.objects.create(lead=lead(), summary="now")
    note(run, call, "id", "4711")
    note(run, call, "summary", "mine", kind="conflict")
    note(run, call, "summary", "no", kind="rejected")
    remember()
    export(target)
    (written,) = values(target, "calls")
    assert (written["id"], written["summary"]) == (call.pk, "now")


def test_unique_indexes_become_plain_where_the_old_file_had_equal_values(
    target: Path, run: ImportRun, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = lead(), lead("+14155550199")
    note(run, second, "phone", first.phone)
    meeting(first, calendar_event_id="evt1")
    note(run, meeting(first, minute=1), "calendar_event_id", "evt1")
    Call.objects.create(lead=first)
    note(run, Call.objects.create(lead=first, started_at=NOON, ended_at=NOON), "ended_at", None)
    remember()
    output = export(target, capsys=capsys)
    assert "ix_leads_phone, uq_meetings_calendar_event_id, idx_active_calls_per_lead." in output
    assert [row["phone"] for row in values(target, "leads")] == [first.phone] * 2
    assert [row["calendar_event_id"] for row in values(target, "meetings")] == ["evt1"] * 2
    assert dict(schema(target))["ix_leads_phone"] == "CREATE INDEX ix_leads_phone ON leads (phone)"


def test_event_ids_stay_unique_when_their_originals_are(target: Path, run: ImportRun) -> None:
    note(run, meeting(lead(), calendar_event_id="evt1"), "calendar_event_id", "evt\0001")
    remember()
    export(target)
    assert "UNIQUE" in dict(schema(target))["uq_meetings_calendar_event_id"]


def test_partners_without_a_key_get_one_that_nobody_can_guess(
    target: Path, run: ImportRun, capsys: pytest.CaptureFixture[str]
) -> None:
    keyless, other, empty = (Partner.objects.create(name=name) for name in ("A", "B", "C"))
    legacy = Partner.objects.create(name="D")
    PartnerApiKey.issue(legacy)
    PartnerApiKey.objects.create(partner=legacy, digest=digest_of("old"), is_legacy=True)
    note(run, empty, "api_key", "")
    remember()
    assert "API keys cannot be recovered from their digests" in export(target, capsys=capsys)
    keys = {row["id"]: row["api_key"] for row in values(target, "partners")}
    assert keys[empty.pk] == ""
    assert keys[legacy.pk] == digest_of("old")
    assert keys[keyless.pk].startswith("no-key-")
    assert len({keys[keyless.pk], keys[other.pk]}) == 2


def test_it_names_what_the_old_application_has_no_place_for(
    target: Path, run: ImportRun, capsys: pytest.CaptureFixture[str]
) -> None:
    lead(timezone="Europe/Zurich", attempts=3)
    host = MeetingHost.objects.create(name="Bea")
    Meeting.objects.create(lead=lead("+14155550135", attempts=1), host=host, scheduled_time=NOON)
    ImportRowNote.objects.create(run=run, table_name="calls", kind="rejected", original={}, reason="orphan")
    output = export(target, capsys=capsys)
    assert "no place for: leads.timezone (1), leads.attempts (2), meetings.host (1)." in output
    assert "the import rejected them: calls (1)." in output


def test_an_existing_file_is_replaced_only_with_force(target: Path) -> None:
    target.write_text("precious")
    code, sentence = failure(target)
    assert (code, target.read_text()) == (2, "precious")
    assert sentence.endswith("old.db exists already; add --force to replace it.")
    export(target, "--force")
    assert values(target, "leads") == []


def test_a_log_left_beside_the_path_is_not_replayed_into_the_new_file(target: Path) -> None:
    log = target.with_name("old.db-wal")
    log.write_text("frames")
    assert failure(target)[0] == 2
    export(target, "--force")
    assert not log.exists()


def test_directories_and_paths_into_nothing_are_refused(tmp_path: Path) -> None:
    assert failure(tmp_path) == (2, f"{tmp_path} is a directory; name the file to write.")
    code, sentence = failure(tmp_path / "no" / "old.db")
    assert (code, sentence) == (2, f"There is no directory {tmp_path / 'no'} to write old.db to.")
    code, sentence = failure(tmp_path / ("x" * 300))
    assert (code, sentence) == (2, f"{tmp_path / ('x' * 300)} cannot be used: File name too long.")
    code, sentence = failure(tmp_path / ("x" * 250))
    assert (code, list(tmp_path.iterdir())) == (1, [])


@contextmanager
def small_disk(room: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_ends_in_one_sentence_and_leaves_nothing(target: Path) -> None:
    lead(email="x" * 5_000_000)
    with small_disk(1_000_000):
        code, sentence = failure(target)
    assert code == 1
    assert sentence.startswith(f"{target} cannot be written: ")
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_takes_no_files_ends_in_one_sentence() -> None:
    code, sentence = failure(Path("/proc/old.db"))
    assert (code, sentence) == (1, "/proc/old.db cannot be written: unable to open database file.")


def test_a_failing_postgresql_ends_in_one_sentence_and_leaves_nothing(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("legacy.export.sheet.API_KEY", "1 / 0")
    Partner.objects.create(name="Acme")
    assert failure(target) == (1, "PostgreSQL cannot be read: division by zero.")
    assert list(target.parent.iterdir()) == []


def test_postgresql_that_is_down_ends_in_one_sentence(target: Path, manage: Any) -> None:
    done = manage("export_to_sqlite", str(target), DATABASE_URL="postgresql://x@127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: PostgreSQL cannot be read: ")
    assert done.stderr.count("\n") == 1
    assert not target.exists()


def test_every_table_has_a_model_and_a_place_in_the_file(target: Path) -> None:
    export(target)
    assert all(model_of(name) for name in BY_NAME)
    assert set(BY_NAME) <= set(dict(schema(target)))
