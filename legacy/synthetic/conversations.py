"""Calls, their turns and the meetings booked in them, in the order in which a running system writes them."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

from legacy.synthetic import clock
from legacy.synthetic.people import person
from legacy.synthetic.phrases import BY_LANGUAGE, SUMMARIES, SYSTEM_NOTE, VOICES

CALLS_PER_LEAD = 3
TURNS_PER_CALL = 8
SPREAD = 6
BOOKED_EVERY = 6
SLOT = 1800
# No call lasts 240 seconds, the least time between two calls of one lead.
PACE = 30
MOST_ACTIVE = 20
# Nobody says more than a greeting to a mailbox, and no transcript is made of it.
UNANSWERED = 4
# The share of turns after which the recording holds a sentence that was not kept as a turn.
ASIDES = 0.65

Row = tuple[object, ...]
STATUSES = (
    "PENDING",
    "QUEUED",
    "CALLING",
    "CONTACTED",
    "MEETING_SCHEDULED",
    "NOT_INTERESTED",
    "NO_ANSWER",
    "FAILED",
)
_AFTER = {
    "INTERESTED": "CONTACTED",
    "BUSY": "CONTACTED",
    "NOT_INTERESTED": "NOT_INTERESTED",
    "NO_ANSWER": "NO_ANSWER",
    None: "CONTACTED",
}


@dataclass(frozen=True)
class Plan:
    """Decide from a call's position alone whom it reaches, whether it books and whether it still runs."""

    leads: int
    seed: int
    revision: int

    @property
    def calls(self) -> int:
        return self.leads * CALLS_PER_LEAD

    @property
    def step(self) -> int:
        # Seconds between two calls: neighbours run at once, but a lead's next call starts after the last one
        # has ended. Few leads come round sooner than any call ends, so they get more time.
        return PACE if self.leads >= 20 else 10 * PACE

    @property
    def end(self) -> int:
        return clock.START + self.calls * self.step

    def lead(self, call: int) -> int:
        """Give the lead index of a call; every tenth lead waits, and another is called in its place."""
        index = call % self.leads
        return index - 9 if index % 10 == 9 else index

    def books(self, call: int) -> bool:
        return call % BOOKED_EVERY == 1

    def active(self, call: int) -> bool:
        """Tell whether the call has not ended; only the last call of a lead may be active."""
        if call < self.calls - min(MOST_ACTIVE, max(1, self.leads // 1000)) or self.books(call):
            return False
        index = call % self.leads
        return index % 10 != 0 or index + 9 >= self.leads


class Turn(NamedTuple):
    """One utterance; the order of the fields is the order in which turns reach the table."""

    second: int
    call: int
    number: int
    role: str
    message: str


@dataclass
class Batch:
    """Rows in the column order of revision 7."""

    calls: list[Row] = field(default_factory=list)
    turns: list[Row] = field(default_factory=list)
    meetings: list[Row] = field(default_factory=list)


@dataclass
class Ledger:
    """What the calls left behind on each lead: status number and last change."""

    status: bytearray
    touched: "array[int]"

    @classmethod
    def empty(cls, leads: int) -> "Ledger":
        waiting = bytearray(index % 20 == 19 for index in range(leads))
        return cls(waiting, array("q", bytes(8 * leads)))

    def of(self, lead: int) -> tuple[str, int]:
        """Give the status of a lead index and the second of its last change, 0 when it was never called."""
        return STATUSES[self.status[lead]], self.touched[lead]

    def record(self, lead: int, status: str, second: int) -> None:
        booked = STATUSES.index("MEETING_SCHEDULED")
        if status == "CALLING" or self.status[lead] != booked:
            self.status[lead] = STATUSES.index(status)
        self.touched[lead] = second


class Writer:
    """Make up the calls one after the other; memory holds one batch and the turns of running calls."""

    def __init__(self, plan: Plan, rng: Random, ledger: Ledger) -> None:
        self.plan = plan
        self.rng = rng
        self.ledger = ledger
        self.pending: list[Turn] = []
        self.last_turn = 0

    def batches(self, size: int = 2000) -> Iterator[Batch]:
        """Yield batches of `size` calls; the last one holds the turns that were still being spoken."""
        batch = Batch()
        for call, turns in self._turn_counts():
            self._add(batch, call, turns)
            if len(batch.calls) == size:
                yield batch
                batch = Batch()
        self._flush(batch, None)
        yield batch

    def _turn_counts(self) -> Iterator[tuple[int, int]]:
        # Two neighbours share one deviation, so the total is exactly eight per call; the odd one, which may
        # be a booking, is the longer.
        for call in range(0, self.plan.calls - 1, 2):
            deviation = int(self.rng.random() * (SPREAD + 1))
            yield call, TURNS_PER_CALL - deviation
            yield call + 1, TURNS_PER_CALL + deviation
        if self.plan.calls % 2:
            yield self.plan.calls - 1, TURNS_PER_CALL

    def _add(self, batch: Batch, call: int, count: int) -> None:
        plan = self.plan
        start = clock.START + call * plan.step + self.rng.random() * PACE
        self._flush(batch, int(start))
        lead = plan.lead(call)
        language = person(lead + 1, plan.seed).country.language
        turns, lines = self._talk(call + 1, int(start), count, language)
        end = turns[-1].second + 1 + self.rng.random()
        active = plan.active(call)
        outcome = self._outcome(call, count, active)
        status = "CALLING" if active else _AFTER[outcome]
        if plan.books(call):
            batch.meetings.append(self._meeting(call, int(end)))
            status = "MEETING_SCHEDULED"
        self.ledger.record(lead, status, int(start if active else end))
        batch.calls.append(self._call(call, lines, language, outcome, start, None if active else end))

    def _flush(self, batch: Batch, before: int | None) -> None:
        pending = self.pending
        while pending and (before is None or pending[0].second < before):
            turn = heappop(pending)
            self.last_turn += 1
            when = clock.by_database(turn.second)
            batch.turns.append((self.last_turn, turn.call, turn.role, turn.message, when))

    def _talk(self, call: int, second: int, count: int, language: str) -> tuple[list[Turn], list[str]]:
        """Make up the turns of a call, and its transcript, which also holds what the turns left out."""
        draw = self.rng.random
        agent, lead, asides = BY_LANGUAGE[language]
        turns, lines, began = [], [], second
        noted = count > UNANSWERED and draw() < 0.03
        for number in range(count):
            # The answer and the next question are often stored within one second.
            if number % 2 == 0 or draw() < 0.5:
                second += 3 + int(draw() * 10)
            role, bank = ("USER", lead) if number % 2 else ("AI", agent)
            # The first of each bank opens the call and is not said again.
            message = bank[1 + int(draw() * (len(bank) - 1)) if number > 1 else 0]
            if noted and number == 0:
                role, message = "SYSTEM", SYSTEM_NOTE
            turn = Turn(second, call, number, role, message)
            turns.append(turn)
            heappush(self.pending, turn)
            aside = f" {asides[int(draw() * len(asides))]}" if draw() < ASIDES else ""
            lines.append(f"[{second - began:03d}] {role}: {message}{aside}")
        return turns, lines

    def _outcome(self, call: int, count: int, active: bool) -> str | None:
        if active:
            # An outcome could not be NULL before revision 5.
            return None if self.plan.revision >= 5 else "BUSY"
        if self.plan.books(call):
            return "INTERESTED"
        if count <= UNANSWERED:
            return "NO_ANSWER"
        draw = self.rng.random()
        if draw < 0.02 and self.plan.revision >= 5:
            return None
        return ("NOT_INTERESTED", "BUSY", "INTERESTED", "NOT_INTERESTED")[int(draw * 4)]

    def _call(
        self, call: int, lines: list[str], language: str, outcome: str | None, start: float, end: float | None
    ) -> Row:
        draw = self.rng.random()
        voice = VOICES[int(draw * len(VOICES))]
        sid = f"{self.rng.getrandbits(128):032x}"
        ended = end is not None
        return (
            call + 1,
            self.plan.lead(call) + 1,
            f"CA{sid}",
            f"https://recordings.example.com/RE{sid[:16]}.mp3" if ended and draw < 0.9 else None,
            "\n".join(lines) if ended and outcome != "NO_ANSWER" else None,
            SUMMARIES[int(draw * len(SUMMARIES))] if ended and draw > 0.3 else None,
            round(end - start, 2) if end is not None else None,
            language,
            voice.id,
            voice.name,
            outcome,
            clock.by_python(start),
            clock.by_python(end) if end is not None else None,
            clock.by_database(int(start)),
        )

    def _meeting(self, call: int, booked: int) -> Row:
        """Book the next free half hour of the one calendar; slots are sold faster than calls come in."""
        number = call // BOOKED_EVERY + 1
        slot = clock.START + clock.DAY + number * SLOT
        lead = self.plan.lead(call) + 1
        draw = self.rng.random()
        code = f"{self.rng.getrandbits(60):015x}"
        return (
            number,
            lead,
            call + 1,
            clock.by_python(slot),
            person(lead, self.plan.seed).email,
            f"evt{number:07d}{code}" if draw < 0.95 else None,
            (30, 30, 30, 15, 20)[int(draw * 5)],
            f"https://meet.example.com/{code[:10]}" if draw > 0.1 else None,
            'Asked for "a demo", bring prices\nand the contract 📄' if draw > 0.8 else None,
            self._meeting_status(slot, draw),
            clock.by_database(booked),
            clock.by_database(booked),
        )

    def _meeting_status(self, slot: int, draw: float) -> str:
        if draw < 0.1:
            return "CANCELLED"
        if slot + SLOT <= self.plan.end:
            return "NO_SHOW" if draw < 0.3 else "COMPLETED"
        return "CONFIRMED" if draw < 0.5 else "SCHEDULED"
