"""What the voice agent says and how it sounds: settings that staff change while the system runs."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction

from scheduler import setting_changes
from scheduler.models import Setting

PROMPT_KEY = "system_prompt_en"
VOICE_ID_KEY = "voice_id"
VOICE_NAME_KEY = "voice_name"
VOICES_KEY = "voices"  # a JSON list of {"voice_id", "voice_name"}, for voices beyond the stock ones

DEFAULT_PROMPT = """\
You are a professional AI assistant making an outbound call to schedule a meeting with a potential client.

Your goal is to:
1. Introduce yourself politely and professionally
2. Briefly explain the purpose of the call (scheduling a meeting to discuss our services)
3. Gauge the prospect's interest level
4. If interested, propose available meeting time slots
5. Confirm the meeting details and email
6. End the call professionally

Guidelines:
- Be conversational, warm, and professional
- Keep responses concise (1-3 sentences)
- Listen carefully to objections and respond appropriately
- If they're not interested, politely thank them and end the call
- If they want more information, provide a brief overview and return to scheduling
- Propose specific time slots (e.g., "Tuesday at 2pm or Wednesday at 10am")
- Always confirm their email address before finalizing the meeting

Response format:
- Classify intent: INTERESTED | NOT_INTERESTED | NEEDS_INFO | SCHEDULE_MEETING | END_CALL
- Provide your spoken response

Example responses:
- "Great! I'd love to schedule a time to discuss how we can help your business. Would Tuesday at 2pm or \
Wednesday at 10am work better for you?"
- "I understand you're busy. Is there a better time this week that works for you?"
- "No problem at all! Thank you for your time, and have a great day!"
"""

# Stock voices of the speech service; which one speaks is a setting.
STOCK_VOICES = (
    {"voice_id": "21m00Tcm4TlvDq8ikWAM", "voice_name": "Rachel"},
    {"voice_id": "pNInz6obpgDQGcFmaJgB", "voice_name": "Adam"},
    {"voice_id": "EXAVITQu4vr4xnSDxMaL", "voice_name": "Bella"},
)

Voice = dict[str, str]


def voices() -> list[Voice]:
    """Return the voices that may be chosen: the stock ones, those of the setting `voices`, and the one in use."""
    known = {voice["voice_id"]: voice for voice in (*STOCK_VOICES, *_own_voices())}
    chosen = _stored_voice()
    if chosen:
        known.setdefault(chosen["voice_id"], chosen)
    return list(known.values())


def voice() -> Voice:
    """Return the voice that speaks."""
    return _stored_voice() or STOCK_VOICES[0]


def choose_voice(voice_id: str, user_id: int, sentence: str = "Changed") -> Voice | None:
    """Let a voice speak from the next call on; return None when it is not one of `voices()`."""
    found = next((each for each in voices() if each["voice_id"] == voice_id), None)
    if found:
        with transaction.atomic():
            for key, value in ((VOICE_ID_KEY, found["voice_id"]), (VOICE_NAME_KEY, found["voice_name"])):
                setting_changes.write(key, value, user_id, sentence)
    return found


def _stored_voice() -> Voice | None:
    values = dict(Setting.objects.filter(key__in=(VOICE_ID_KEY, VOICE_NAME_KEY)).values_list("key", "value"))
    if not values.get(VOICE_ID_KEY):
        return None
    return {
        "voice_id": values[VOICE_ID_KEY],
        "voice_name": values.get(VOICE_NAME_KEY) or values[VOICE_ID_KEY],
    }


def _own_voices() -> list[Voice]:
    text = Setting.objects.filter(key=VOICES_KEY).values_list("value", flat=True).first()
    return [each for each in _as_list(text) if is_voice(each)]


def _as_list(text: str | None) -> list[Any]:
    # Staff type it by hand: what is no such list must not take the other voices away.
    try:
        value = json.loads(text or "[]")
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def is_voice(value: Any) -> bool:
    """Tell whether a value of the setting `voices` describes a voice."""
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) and value[name] for name in ("voice_id", "voice_name")
    )
