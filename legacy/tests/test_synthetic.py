import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import phonenumbers
import pytest
from django.core.management import CommandError, call_command

from legacy.schema import COLUMNS, NEWEST, REVISIONS, create_schema
from legacy.synthetic import build as building
from legacy.synthetic.build import build
from legacy.synthetic.dirt import DIRT
from legacy.synthetic.people import COUNTRIES, MAX_LEADS, Country
from legacy.synthetic.relaxed import create_relaxed_schema

SAMPLES = Path(__file__).parent / "samples"
LEADS = 200
NEWEST_CALLS = (
    "id lead_id twilio_call_sid recording_url transcript summary duration language voice_id voice_name "
    "outcome started_at ended_at created_at"
)
NEWEST_LEADS = "id name phone email country_code language partner_id status created_at updated_at"
NEWEST_MEETINGS = (
    "id lead_id call_id scheduled_time guest_email calendar_event_id duration meeting_link notes status "
    "created_at updated_at"
)
OLDEST = {
    "leads": "id name phone email country_code language status created_at updated_at",
    "calls": "id lead_id twilio_call_sid recording_url transcript duration language outcome started_at "
    "ended_at created_at",
    "meetings": "id lead_id call_id scheduled_time guest_email calendar_event_id status "
    "created_at updated_at",
    "conversation_history": "id call_id role message created_at",
}

# What each kind of dirt leaves behind: a query that finds it in a dirty file and nothing in a clean one.
MARKS = {
    "lower_case_enums": "SELECT 1 FROM conversation_history WHERE role IN ('ai', 'user')",
    "old_outcomes": "SELECT 1 FROM calls WHERE outcome = 'meeting_scheduled'",
    "unknown_outcomes": "SELECT 1 FROM calls WHERE outcome = 'MAYBE_LATER'",
    "unknown_lead_statuses": "SELECT 1 FROM leads WHERE status = 'ARCHIVED'",
    "unknown_meeting_statuses": "SELECT 1 FROM meetings WHERE status = 'POSTPONED'",
    "unknown_roles": "SELECT 1 FROM conversation_history WHERE role = 'ROBOT'",
    "numbers_as_text": "SELECT 1 FROM calls WHERE typeof(duration) = 'text' AND duration = '12.5'",
    "numbers_in_text_columns": "SELECT 1 FROM leads WHERE typeof(country_code) = 'integer'",
    "infinite_numbers": "SELECT 1 FROM calls WHERE duration = 9e999",
    "negative_durations": "SELECT 1 FROM calls WHERE duration = -1",
    "text_booleans": "SELECT 1 FROM partners WHERE is_active = 't'",
    "null_booleans": "SELECT 1 FROM partners WHERE is_active IS NULL",
    "junk_booleans": "SELECT 1 FROM partners WHERE is_active = 'perhaps'",
    "duplicate_partner_names": "SELECT 1 FROM partners GROUP BY name HAVING count(*) > 1",
    "empty_partner_names": "SELECT 1 FROM partners WHERE trim(name) = ''",
    "useless_rate_limits": "SELECT 1 FROM partners WHERE rate_limit = 0",
    "empty_api_keys": "SELECT 1 FROM partners WHERE api_key = '' OR api_key IS NULL",
    "nul_bytes": "SELECT 1 FROM leads WHERE instr(CAST(name AS BLOB), x'00')",
    "lone_surrogates": "SELECT 1 FROM leads WHERE instr(CAST(name AS BLOB), x'EDA0BD')",
    "invalid_utf8": "SELECT 1 FROM leads WHERE instr(CAST(name AS BLOB), x'FFFE')",
    "very_long_text": "SELECT 1 FROM calls WHERE length(transcript) > 1000000",
    "phones_in_any_spelling": "SELECT 1 FROM leads WHERE phone LIKE 'tel:%'",
    "leads_sharing_a_number": "SELECT 1 FROM leads GROUP BY phone HAVING phone LIKE '+%' AND count(*) > 1",
    "junk_phones": "SELECT 1 FROM leads WHERE phone = 'call me!'",
    "empty_phones": "SELECT 1 FROM leads WHERE phone = ''",
    "times_with_t": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '____-__-__T__:__:__.000000'",
    "times_with_z": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '%Z'",
    "times_with_utc_offset": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '%+00:00'",
    "times_with_other_offset": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '%+02:00'",
    "dates_alone": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '2025-__-__'",
    "epoch_seconds": "SELECT 1 FROM calls WHERE typeof(started_at) = 'integer' AND started_at < 1e11",
    "epoch_milliseconds": "SELECT 1 FROM calls WHERE typeof(started_at) = 'integer' AND started_at > 1e11",
    "unreadable_times": "SELECT 1 FROM meetings WHERE scheduled_time = 'last tuesday'",
    "times_out_of_range": "SELECT 1 FROM leads WHERE updated_at LIKE '9999%'",
    "null_times": "SELECT 1 FROM calls WHERE started_at IS NULL",
    "ended_before_started": "SELECT 1 FROM calls WHERE ended_at < started_at AND ended_at LIKE '% %.%'",
    "turns_without_call": "SELECT 1 FROM conversation_history WHERE call_id = 900000017",
    "calls_without_lead": "SELECT 1 FROM calls WHERE lead_id = 900000018",
    "meetings_without_lead": "SELECT 1 FROM meetings WHERE lead_id = 900000019",
    "meetings_of_missing_call": "SELECT 1 FROM meetings WHERE call_id = 900000020",
    "leads_of_missing_partner": "SELECT 1 FROM leads WHERE partner_id = 900000021",
    "several_active_calls": "SELECT 1 FROM calls WHERE ended_at IS NULL GROUP BY lead_id HAVING count(*) > 1",
    "leads_stuck_in_calling": "SELECT 1 FROM leads l WHERE status = 'CALLING' AND NOT EXISTS "
    "(SELECT 1 FROM calls c WHERE c.lead_id = l.id AND c.ended_at IS NULL)",
    "overlapping_meetings": "SELECT 1 FROM meetings WHERE scheduled_time LIKE '%:_0:00.000000' "
    "AND substr(scheduled_time, 15, 2) IN ('10', '40')",
    "duplicate_call_sids": "SELECT 1 FROM calls WHERE twilio_call_sid IS NOT NULL "
    "GROUP BY twilio_call_sid HAVING count(*) > 1",
    "duplicate_event_ids": "SELECT 1 FROM meetings WHERE calendar_event_id IS NOT NULL "
    "GROUP BY calendar_event_id HAVING count(*) > 1",
    "duplicate_setting_keys": "SELECT 1 FROM settings GROUP BY key HAVING count(*) > 1",
    "extra_tables": "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'",
    "extra_columns": "SELECT 1 FROM pragma_table_info('leads') WHERE name = 'Priority (Anna)'",
    "calls_only_in_backup": "SELECT 1 FROM calls_backup b JOIN leads l ON l.id = b.lead_id "
    "WHERE b.id NOT IN (SELECT id FROM calls)",
    "calls_also_in_backup": "SELECT 1 FROM calls_backup JOIN calls USING (id, lead_id, started_at)",
    "backup_ids_used_again": "SELECT 1 FROM calls_backup b JOIN calls c USING (id) "
    "WHERE b.lead_id <> c.lead_id",
    "orphaned_backup_calls": "SELECT 1 FROM calls_backup WHERE lead_id = 900000030",
}

File = Callable[[str], list[tuple]]


def structure(connection: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))


def made_structure(revision: int) -> set[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        create_schema(connection, revision)
        return structure(connection)


def sample_structure(name: str) -> set[tuple[str, str, str | None]]:
    uri = f"{(SAMPLES / name).as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return structure(connection)


def reader(path: Path) -> Iterator[File]:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        yield lambda sql: connection.execute(sql).fetchall()


def dump(path: Path) -> list[bytes]:
    """List all that a file says, bytes for text, so that broken text compares too."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [(name, connection.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names]
        return [repr(table).encode() for table in tables]


@pytest.fixture(scope="module")
def clean_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clean") / "legacy.db"
    build(path, leads=LEADS)
    return path


@pytest.fixture(scope="module")
def clean(clean_path: Path) -> Iterator[File]:
    yield from reader(clean_path)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[File]:
    path = tmp_path_factory.mktemp("dirty") / "legacy.db"
    build(path, leads=50, dirty=True)
    yield from reader(path)


def test_the_newest_columns_are_those_of_the_old_application() -> None:
    assert COLUMNS[7]["calls"] == tuple(NEWEST_CALLS.split())
    assert COLUMNS[7]["leads"] == tuple(NEWEST_LEADS.split())
    assert COLUMNS[7]["meetings"] == tuple(NEWEST_MEETINGS.split())


def test_the_oldest_columns_are_those_of_the_first_application() -> None:
    assert COLUMNS[1] == {table: tuple(names.split()) for table, names in OLDEST.items()}


def test_revision_1_is_written_to_the_letter_as_in_the_sample() -> None:
    assert made_structure(1) == sample_structure("rev1_empty.db")


def test_revision_7_is_the_sample_to_the_letter_and_the_index_only_a_script_made() -> None:
    extra = made_structure(7) - sample_structure("newest.db")
    assert sample_structure("newest.db") <= made_structure(7)
    assert extra <= sample_structure("all_scripts_run.db")
    assert [name for _, name, _ in extra] == ["idx_active_calls_per_lead"]


@pytest.mark.parametrize(
    ("since", "table", "column"),
    [
        (2, "calls", "summary"),
        (3, "settings", "key"),
        (4, "meetings", "duration"),
        (4, "meetings", "notes"),
        (7, "calls", "voice_id"),
        (7, "partners", "api_key"),
        (7, "leads", "partner_id"),
    ],
)
def test_a_column_is_there_from_its_revision_on(since: int, table: str, column: str) -> None:
    found = [revision for revision in REVISIONS if column in COLUMNS[revision].get(table, ())]
    assert found == list(range(since, NEWEST + 1))


@pytest.mark.parametrize("dirty", [False, True])
def test_the_same_seed_gives_the_same_content(tmp_path: Path, dirty: bool) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        build(tmp_path / name, leads=60, seed=seed, dirty=dirty)
    assert dump(tmp_path / "a") == dump(tmp_path / "b")
    assert dump(tmp_path / "a") != dump(tmp_path / "c")


@pytest.mark.parametrize("leads", [1, 2, 10, 19, 20, 61])
def test_every_lead_adds_three_calls_twenty_four_turns_and_half_a_meeting(tmp_path: Path, leads: int) -> None:
    build(tmp_path / "legacy.db", leads=leads)
    for read in reader(tmp_path / "legacy.db"):
        tables = ("leads", "calls", "conversation_history", "meetings", "partners")
        counts = [read(f"SELECT count(*) FROM {table}")[0][0] for table in tables]
        assert counts == [leads, 3 * leads, 24 * leads, (leads + 1) // 2, 3]


@pytest.mark.parametrize("country", COUNTRIES, ids=lambda country: country.region)
def test_every_phone_is_valid_and_of_its_country(country: Country) -> None:
    rng = Random(3)
    for serial in (1, MAX_LEADS, *(rng.randint(1, MAX_LEADS) for _ in range(200))):
        number = phonenumbers.parse(country.phone(serial))
        assert phonenumbers.is_valid_number_for_region(number, country.region)
        assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == country.phone(
            serial
        )


def test_clean_phones_are_unique_and_of_every_country(clean: File) -> None:
    phones = {phone.decode() for (phone,) in clean("SELECT phone FROM leads")}
    regions = {phonenumbers.region_code_for_number(phonenumbers.parse(phone)) for phone in phones}
    assert len(phones) == LEADS
    assert regions == {country.region for country in COUNTRIES}


def test_clean_files_have_no_orphans(clean: File) -> None:
    assert clean("PRAGMA foreign_key_check") == []
    assert clean("SELECT 1 FROM meetings m JOIN calls c ON c.id = call_id WHERE c.lead_id <> m.lead_id") == []


@pytest.mark.parametrize("leads", [1, 9, 10, 19, 20, 61])
def test_calls_of_one_lead_never_overlap(tmp_path: Path, leads: int) -> None:
    build(tmp_path / "legacy.db", leads=leads)
    for read in reader(tmp_path / "legacy.db"):
        overlapping = """SELECT 1 FROM calls a JOIN calls b ON a.lead_id = b.lead_id AND a.id < b.id
            WHERE coalesce(a.ended_at, '9999') >= b.started_at"""
        assert read(overlapping) == []


def test_clean_meetings_never_overlap(clean: File) -> None:
    gaps = """SELECT 1 FROM (SELECT scheduled_time AS this, duration,
        lead(scheduled_time) OVER (ORDER BY scheduled_time) AS next FROM meetings)
        WHERE datetime(this, '+' || duration || ' minutes') > datetime(next)"""
    assert clean(gaps) == []


def test_few_calls_are_active_and_their_leads_are_in_calling(clean: File) -> None:
    active = clean("SELECT lead_id FROM calls WHERE ended_at IS NULL ORDER BY 1")
    assert 0 < len(active) < 5
    assert active == clean("SELECT id FROM leads WHERE status = 'CALLING' ORDER BY 1")


def test_call_sids_are_unique_and_look_like_those_of_twilio(clean: File) -> None:
    sids = {sid.decode() for (sid,) in clean("SELECT twilio_call_sid FROM calls")}
    assert len(sids) == 3 * LEADS
    assert all(sid.startswith("CA") and len(bytes.fromhex(sid[2:])) == 16 for sid in sids)


def test_times_come_in_the_form_of_the_database_and_in_that_of_python(clean: File) -> None:
    seconds, micros = "____-__-__ __:__:__", "____-__-__ __:__:__.______"
    assert clean(f"SELECT 1 FROM calls WHERE created_at NOT LIKE '{seconds}'") == []
    assert clean(f"SELECT 1 FROM calls WHERE started_at NOT LIKE '{micros}'") == []
    assert clean(f"SELECT 1 FROM meetings WHERE scheduled_time NOT LIKE '{micros}'") == []


def test_turns_of_one_second_tie_and_neighbouring_calls_interleave(clean: File) -> None:
    pairs = "conversation_history a JOIN conversation_history b ON b.id = a.id + 1"
    assert clean(f"SELECT 1 FROM {pairs} WHERE a.call_id = b.call_id AND a.created_at = b.created_at")
    assert clean(f"SELECT 1 FROM {pairs} WHERE b.call_id < a.call_id")


@pytest.mark.parametrize("revision", [1, 2, 3])
def test_clean_old_files_use_no_outcome_that_an_import_must_map(tmp_path: Path, revision: int) -> None:
    build(tmp_path / "legacy.db", leads=30, revision=revision)
    for read in reader(tmp_path / "legacy.db"):
        kept = {b"NO_ANSWER", b"BUSY", b"NOT_INTERESTED", b"INTERESTED"}
        assert {outcome for (outcome,) in read("SELECT outcome FROM calls")} == kept


def test_every_kind_of_dirt_has_a_mark_to_be_found_by() -> None:
    assert set(MARKS) == set(DIRT)


@pytest.mark.parametrize("kind", DIRT)
def test_a_dirty_file_shows_the_kind_and_a_clean_one_does_not(kind: str, clean: File, dirty: File) -> None:
    assert dirty(MARKS[kind])
    if "calls_backup" not in MARKS[kind]:
        assert clean(MARKS[kind]) == []


@pytest.mark.parametrize("seed", range(2, 12))
def test_fifty_leads_are_enough_for_every_kind(tmp_path: Path, seed: int) -> None:
    build(tmp_path / "legacy.db", leads=50, seed=seed, dirty=True)
    for read in reader(tmp_path / "legacy.db"):
        assert [kind for kind, mark in MARKS.items() if not read(mark)] == []


@pytest.mark.parametrize("kind", DIRT)
def test_a_kind_of_dirt_works_alone(kind: str, clean_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        create_relaxed_schema(connection, NEWEST)
        connection.execute("ATTACH ? AS clean", (str(clean_path),))
        for table, names in COLUMNS[NEWEST].items():
            listed = ", ".join(names)
            connection.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM clean.{table}")
        DIRT[kind](connection, Random(1))
        assert connection.execute(MARKS[kind]).fetchone()


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("leads", [1, 50])
def test_every_revision_can_be_dirty(tmp_path: Path, revision: int, leads: int) -> None:
    build(tmp_path / "legacy.db", leads=leads, dirty=True, revision=revision)
    for read in reader(tmp_path / "legacy.db"):
        assert {name.decode() for (name,) in read("SELECT name FROM pragma_table_info('calls')")} == {
            *COLUMNS[revision]["calls"],
            "cost",
        }


def test_about_two_rows_in_a_hundred_are_dirty(tmp_path: Path) -> None:
    build(tmp_path / "clean.db", leads=2000)
    build(tmp_path / "dirty.db", leads=2000, dirty=True)
    for read in reader(tmp_path / "dirty.db"):
        read(f"ATTACH '{tmp_path / 'clean.db'}' AS clean")
        for table in ("leads", "calls", "conversation_history"):
            listed = ", ".join(COLUMNS[NEWEST][table])
            ((spoiled, total),) = read(
                f"SELECT count(*), (SELECT count(*) FROM clean.{table}) FROM "
                f"(SELECT {listed} FROM clean.{table} EXCEPT SELECT {listed} FROM main.{table})"
            )
            assert 0.01 < spoiled / total < 0.05, table


def test_the_command_writes_the_file_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("make_legacy_sqlite", str(tmp_path / "legacy.db"), leads=3)
    assert "3 leads" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["legacy.db"]


def test_an_existing_file_is_replaced_only_when_forced(tmp_path: Path) -> None:
    path = tmp_path / "legacy.db"
    path.write_text("precious")
    with pytest.raises(CommandError, match="exists already; add --force"):
        call_command("make_legacy_sqlite", str(path), leads=3)
    assert path.read_text() == "precious"
    (tmp_path / "legacy.db-wal").write_text("the log of the old file")
    call_command("make_legacy_sqlite", str(path), leads=3, force=True)
    assert path.read_bytes().startswith(b"SQLite format 3")
    assert [left.name for left in tmp_path.iterdir()] == ["legacy.db"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"leads": 0}, "number of leads must be between 1 and"),
        ({"leads": MAX_LEADS + 1}, "number of leads must be between 1 and"),
        ({"revision": 8}, "revision must be between 1 and 7"),
        ({"revision": 0}, "revision must be between 1 and 7"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("make_legacy_sqlite", str(tmp_path / "legacy.db"), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no directory"):
        call_command("make_legacy_sqlite", str(tmp_path / "nowhere" / "legacy.db"))
    with pytest.raises(CommandError, match="is a directory"):
        call_command("make_legacy_sqlite", str(tmp_path))


def test_a_failure_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(building, "_write_content", fail)
    with pytest.raises(CommandError, match="disk is full"):
        call_command("make_legacy_sqlite", str(tmp_path / "legacy.db"))
    assert list(tmp_path.iterdir()) == []
