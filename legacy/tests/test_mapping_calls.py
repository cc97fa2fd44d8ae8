from pathlib import Path

import pytest

from legacy.tests.handmade import (
    BARE,
    KEYED,
    LATER,
    NOON,
    Note,
    Row,
    bring,
    call,
    counts,
    lead,
    meeting,
    moment,
    notes,
    stored,
    turn,
)

pytestmark = pytest.mark.django_db

OLD_COLUMNS = (
    "id",
    "lead_id",
    "twilio_call_sid",
    "recording_url",
    "transcript",
    "duration",
    "language",
    "outcome",
    "started_at",
    "ended_at",
    "created_at",
)
RECOVERED = Note("repaired", "id", 5, "recovered from calls_backup")


def backup(row_id: int, **changes: object) -> Row:
    return {name: cell for name, cell in call(row_id, **changes).items() if name in OLD_COLUMNS}


def clock(second: int, fraction: str = "") -> str:
    return f"2025-11-02 12:00:{second:02}{fraction}"


def turns_of(call_id: int = 1) -> list[int]:
    """Return the ids of a call's turns in the order of their numbers, which have to be 1, 2, 3 and so on."""
    mine = [row for row in stored("conversation_history").values() if row["call_id"] == call_id]
    mine.sort(key=lambda row: row["turn"])
    assert [row["turn"] for row in mine] == list(range(1, len(mine) + 1))
    return [row["id"] for row in mine]


def test_an_end_before_the_start_becomes_the_start(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead()], calls=[call(ended_at="2025-11-02 11:59:59.999999")])
    assert stored("calls")[1]["ended_at"] == moment(NOON)
    original = "2025-11-02 11:59:59.999999"
    assert notes("calls") == [Note("repaired", "ended_at", original, "before started_at; started_at taken")]


def test_an_end_before_the_start_in_other_forms_is_repaired_once(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead()], calls=[call(started_at=NOON, ended_at="2025-11-02T13:30:00+02:00")])
    (note,) = notes("calls", spelling=True)
    assert (note.kind, note.original) == ("repaired", "2025-11-02T13:30:00+02:00")


def test_an_end_equal_to_the_start_needs_no_repair(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead()], calls=[call(started_at=NOON, ended_at=NOON)])
    assert notes("calls") == []


def test_of_several_active_calls_only_the_newest_stays_active(tmp_path: Path) -> None:
    calls = [
        call(1, started_at=clock(30), ended_at=None),
        call(2, started_at=clock(10), ended_at=None),
        call(3, started_at=clock(20), ended_at=None),
        call(4, lead_id=2, started_at=clock(5), ended_at=None),
    ]
    turns = [turn(1, call_id=2, created_at=clock(12)), turn(2, call_id=2, created_at=clock(14, ".500000"))]
    report = bring(tmp_path, leads=[lead(1), lead(2)], calls=calls, conversation_history=turns)
    ended = {row_id: row["ended_at"] for row_id, row in stored("calls").items()}
    assert ended == {1: None, 2: moment(clock(14, ".5")), 3: moment(clock(20)), 4: None}
    assert notes("calls", 2) == [
        Note("repaired", "ended_at", None, "a newer call is active; time of last turn taken")
    ]
    assert notes("calls", 3) == [
        Note("repaired", "ended_at", None, "a newer call is active; started_at taken")
    ]
    assert report.tables["calls"].repaired == 2


def test_active_calls_of_one_second_leave_the_highest_id_active(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead()], calls=[call(1, ended_at=None), call(2, ended_at=None)])
    assert [row["ended_at"] for row in stored("calls").values()] == [moment(NOON), None]


def test_a_last_turn_before_the_start_does_not_end_a_call_before_it_started(tmp_path: Path) -> None:
    calls = [call(1, ended_at=None), call(2, started_at=LATER, ended_at=None)]
    turns = [turn(1, created_at="2025-11-01 00:00:00")]
    bring(tmp_path, leads=[lead()], calls=calls, conversation_history=turns)
    assert stored("calls")[1]["ended_at"] == moment(NOON)


def test_a_call_whose_end_is_unreadable_counts_as_active(tmp_path: Path) -> None:
    calls = [call(1, ended_at="junk"), call(2, started_at=LATER, ended_at=None)]
    report = bring(tmp_path, leads=[lead()], calls=calls)
    assert stored("calls")[1]["ended_at"] == moment(NOON)
    assert {note.original for note in notes("calls", 1)} == {"junk"}
    assert report.tables["calls"].repaired == 1


def test_a_call_sid_that_occurs_twice_stays_with_the_lowest_id(tmp_path: Path) -> None:
    calls = [
        call(number, twilio_call_sid=sid) for number, sid in enumerate(["b", "a", "a", "A", None, "a"], 1)
    ]
    bring(tmp_path, leads=[lead()], calls=calls[::-1])
    assert [row["twilio_call_sid"] for row in stored("calls").values()] == ["b", "a", None, "A", None, None]
    reason = "occurs twice; the lowest id keeps it"
    assert notes("calls") == [Note("repaired", "twilio_call_sid", "a", reason)] * 2


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_turns_are_numbered_in_the_order_of_time_then_id(tmp_path: Path, layout: str) -> None:
    turns = [
        turn(1, created_at=clock(30)),
        turn(2, created_at=clock(10)),
        turn(3, created_at=clock(10)),
        turn(4, created_at=clock(20, ".000001")),
        turn(5, created_at=clock(20)),
        turn(6, call_id=2, created_at=clock(1)),
    ]
    calls = [call(1), call(2)]
    bring(tmp_path, layout, leads=[lead()], calls=calls, conversation_history=turns)
    assert (turns_of(1), turns_of(2)) == ([2, 3, 5, 4, 1], [6])


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_turns_are_in_order_whatever_forms_their_times_have(tmp_path: Path, layout: str) -> None:
    times = [
        "2025-11-02T14:00:09+02:00",
        1762084803,  # 12:00:03
        clock(5, ".250000"),
        1762084804500,
        clock(5),
        None,
        "2025-11-02",
    ]
    turns = [turn(number, created_at=time) for number, time in enumerate(times, 1)]
    bring(tmp_path, layout, leads=[lead()], calls=[call()], conversation_history=turns)
    assert turns_of() == [7, 2, 4, 5, 3, 1, 6]


def test_a_rejected_turn_leaves_no_gap_in_the_numbers(tmp_path: Path) -> None:
    turns = [turn(1), turn(2, role="ROBOT", created_at="2025-11-02 23:00:00"), turn(3), turn(4, role="user")]
    bring(tmp_path, leads=[lead()], calls=[call()], conversation_history=turns)
    assert turns_of() == [1, 3, 4]


def test_turns_of_strange_call_ids_are_numbered(tmp_path: Path) -> None:
    ids = (-7, 0, 2**62)
    turns = [turn(number, call_id=ids[number % 3]) for number in range(9)]
    bring(tmp_path, leads=[lead()], calls=[call(each) for each in ids], conversation_history=turns)
    assert [turns_of(each) for each in ids] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_call_that_only_the_backup_has_is_recovered_with_its_turns_and_meetings(tmp_path: Path) -> None:
    report = bring(
        tmp_path,
        leads=[lead()],
        calls=[],
        calls_backup=[backup(5, outcome="VOICEMAIL", twilio_call_sid=None)],
        conversation_history=[turn(1, call_id=5)],
        meetings=[meeting(1, call_id=5)],
    )
    held = stored("calls")[5]
    assert (held["outcome"], held["summary"], held["started_at"]) == ("no_answer", None, moment(NOON))
    assert notes("calls", 5)[0] == RECOVERED
    assert (turns_of(5), stored("meetings")[1]["call_id"]) == ([1], 5)
    assert counts(report)["calls"] == (1, 1, 0)
    assert report.tables["calls"].repaired == 1


def test_a_call_that_the_backup_holds_too_is_skipped_and_not_counted(tmp_path: Path) -> None:
    same = backup(1, started_at="2025-11-02T12:00:00Z", transcript="of the backup")
    report = bring(tmp_path, leads=[lead()], calls=[call()], calls_backup=[same])
    assert counts(report)["calls"] == (1, 1, 0)
    assert (stored("calls")[1]["transcript"], notes("calls")) == (None, [])
    assert report.source["tables"]["calls_backup"] == 1


@pytest.mark.parametrize("change", [{"lead_id": 2}, {"started_at": LATER}, {"started_at": "junk"}])
def test_a_backup_id_that_was_given_to_another_call_is_rejected_whole(tmp_path: Path, change: Row) -> None:
    other = backup(1, **change)
    report = bring(tmp_path, leads=[lead(1), lead(2)], calls=[call()], calls_backup=[other])
    assert notes("calls") == [Note("rejected", None, other, "id 1 is another call in calls")]
    assert counts(report)["calls"] == (2, 1, 1)
    assert stored("calls")[1]["lead_id"] == 1


def test_a_rejected_backup_row_keeps_its_note_when_the_call_of_its_id_is_rejected_too(tmp_path: Path) -> None:
    report = bring(tmp_path, leads=[lead()], calls=[call(lead_id=9)], calls_backup=[backup(1, lead_id=8)])
    assert counts(report)["calls"] == (2, 0, 2)
    assert [note.reason for note in notes("calls")] == [
        "id 1 is another call in calls",
        "leads 9 is not in the database",
    ]


def test_backup_rows_follow_the_rules_of_calls(tmp_path: Path) -> None:
    rows = [
        backup(5, twilio_call_sid="CA1"),
        backup(6, lead_id=77),
        backup(5),
        {**backup(7), "id": None},
        {**backup(8), "id": "no number"},
    ]
    report = bring(tmp_path, leads=[lead()], calls=[call(1)], calls_backup=rows)
    assert counts(report)["calls"] == (6, 2, 4)
    assert stored("calls")[5]["twilio_call_sid"] is None
    reasons = {note.reason for note in notes("calls") if note.kind == "rejected"}
    assert reasons == {
        "id 5 occurs twice",
        "leads 77 is not in the database",
        "id is empty",
        "id is not a number",
    }


def test_recovered_calls_count_even_when_the_table_calls_is_gone(tmp_path: Path) -> None:
    report = bring(tmp_path, leads=[lead()], calls_backup=[backup(5)])
    assert (counts(report)["calls"], list(stored("calls"))) == ((1, 1, 0), [5])


def test_a_recovered_call_can_be_the_one_that_stays_active(tmp_path: Path) -> None:
    calls = [call(1, started_at=clock(10), ended_at=None)]
    older = [backup(5, started_at=clock(40), ended_at=None), backup(6, started_at=clock(1), ended_at=None)]
    bring(tmp_path, leads=[lead()], calls=calls, calls_backup=older)
    assert [row["ended_at"] for row in stored("calls").values()] == [
        moment(clock(10)),
        None,
        moment(clock(1)),
    ]
