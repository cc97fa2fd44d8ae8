"""What a setting may hold, by its key. Keys that are not known here hold any text."""

from __future__ import annotations

import json
from collections.abc import Callable

from scheduler import voice

PROMPT_PREFIX = "system_prompt"  # one for each language, such as system_prompt_he
LONGEST_PROMPT = 100_000  # characters
MOST_CALLS = 10_000

Rule = Callable[[str], str]


class WrongValue(ValueError):
    """A value that its key does not allow; the text is one sentence for staff."""


def checked(key: str, value: str) -> str:
    """Return the value as it is stored. Raises WrongValue."""
    if key.startswith(PROMPT_PREFIX):
        return _prompt(value)
    rule = RULES.get(key)
    return rule(value) if rule else value


def explained(key: str) -> str:
    """Say what a key holds, empty for one that is not known."""
    if key.startswith(PROMPT_PREFIX):
        return "What the voice agent is told before each call, from the next call on."
    return MEANINGS.get(key, "")


def _prompt(value: str) -> str:
    if not value.strip():
        raise WrongValue("The system prompt cannot be empty.")
    if len(value) > LONGEST_PROMPT:
        raise WrongValue(f"The system prompt has {len(value):,} characters; {LONGEST_PROMPT:,} are allowed.")
    return value


def _whole(lowest: int, highest: int) -> Rule:
    def check(value: str) -> str:
        digits = value.strip()
        if not (
            digits.isascii() and digits.isdigit() and len(digits) < 10 and lowest <= int(digits) <= highest
        ):
            raise WrongValue(f"Give a whole number from {lowest:,} to {highest:,}.")
        return str(int(digits))

    return check


def _known_voice(value: str) -> str:
    if value not in {each["voice_id"] for each in voice.voices()}:
        raise WrongValue("No voice has this id; choose one on the page of the default voice.")
    return value


def _named(value: str) -> str:
    if not value.strip():
        raise WrongValue("The voice needs a name.")
    return value.strip()


def _voices(value: str) -> str:
    try:
        listed = json.loads(value)
    except ValueError as error:
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise WrongValue(f"This is no JSON{where}.") from None
    except RecursionError:
        raise WrongValue("This is no JSON of voices.") from None
    if not isinstance(listed, list) or not all(map(voice.is_voice, listed)):
        raise WrongValue('Give a JSON list of {"voice_id": "…", "voice_name": "…"}.')
    ids = [each["voice_id"] for each in listed]
    if len(ids) != len(set(ids)):
        raise WrongValue("Two voices have the same voice_id.")
    return value


RULES: dict[str, Rule] = {
    "max_concurrent_calls": _whole(1, MOST_CALLS),
    voice.VOICE_ID_KEY: _known_voice,
    voice.VOICE_NAME_KEY: _named,
    voice.VOICES_KEY: _voices,
}
MEANINGS = {
    "max_concurrent_calls": f"How many calls run at the same time, 1 to {MOST_CALLS:,}.",
    voice.VOICE_ID_KEY: "The voice that speaks. The page of the default voice sets it together with its name.",
    voice.VOICE_NAME_KEY: "The name of the voice that speaks, as people read it.",
    voice.VOICES_KEY: 'Voices beyond the stock ones: a JSON list of {"voice_id": "…", "voice_name": "…"}.',
}
