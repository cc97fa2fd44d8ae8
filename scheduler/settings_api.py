"""Settings over REST: the prompt and the voice of the agent. For staff."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from scheduler import setting_changes, voice
from scheduler.models import Setting
from scheduler.rest.access import acting_user, staff
from scheduler.rest.answers import json_answer, moment
from scheduler.rest.parameters import Body
from scheduler.rest.problems import Invalid, Problem
from scheduler.setting_rules import LONGEST_PROMPT

router = Router(tags=["settings"])

OVER_THE_API = "Changed over the API"
VOICE_EXAMPLE: dict[str, Any] = {"voice_id": "21m00Tcm4TlvDq8ikWAM", "voice_name": "Rachel"}


class PromptOut(Schema):
    key: str = Field(examples=[voice.PROMPT_KEY])
    value: str = Field(examples=["You are a friendly assistant."])
    updated_at: str = Field(
        description="A time, or `N/A` as long as nobody has changed the default text.",
        examples=["2025-01-01T00:01:00+00:00"],
    )


class PromptChange(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "You are a friendly assistant."}]})

    value: str = Field(max_length=LONGEST_PROMPT)


class DefaultPrompt(Schema):
    default_prompt: str = Field(examples=["You are a professional AI assistant."])


class VoiceOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [VOICE_EXAMPLE]})

    voice_id: str
    voice_name: str


class VoiceList(Schema):
    voices: list[VoiceOut]


class VoiceChange(Body):
    """The name is known from the id; one that is sent is ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [VOICE_EXAMPLE]})

    voice_id: str = Field(min_length=1, max_length=200)


class CacheCleared(Schema):
    message: str = Field(examples=["Settings are never cached; there was nothing to clear"])
    success: bool


@router.get("/system_prompt", auth=staff("scheduler.view_setting"), response=PromptOut)
def get_prompt(request: HttpRequest) -> HttpResponse:
    """Show what the voice agent is told before each call."""
    return json_answer(_prompt())


@router.put("/system_prompt", auth=staff("scheduler.change_setting"), response=PromptOut)
def change_prompt(request: HttpRequest, change: PromptChange) -> HttpResponse:
    """Tell the voice agent something else from the next call on."""
    if not change.value.strip():
        raise Problem(400, "prompt_empty", "System prompt cannot be empty")
    setting_changes.write(voice.PROMPT_KEY, change.value, acting_user(request), OVER_THE_API)
    return json_answer(_prompt())


@router.get("/system_prompt/default", auth=staff("scheduler.view_setting"), response=DefaultPrompt)
def get_default_prompt(request: HttpRequest) -> HttpResponse:
    """Show the text that holds as long as nobody has changed it."""
    return json_answer({"default_prompt": voice.DEFAULT_PROMPT})


@router.post("/cache/clear", auth=staff("scheduler.change_setting"), response=CacheCleared)
def clear_cache(request: HttpRequest) -> HttpResponse:
    """Do nothing: settings are read from the database each time. Old dashboards call it after a change."""
    return json_answer({"message": "Settings are never cached; there was nothing to clear", "success": True})


@router.get("/voices", auth=staff("scheduler.view_setting"), response=VoiceList)
def list_voices(request: HttpRequest) -> HttpResponse:
    """List the voices that may be chosen."""
    return json_answer({"voices": voice.voices()})


@router.get("/voice", auth=staff("scheduler.view_setting"), response=VoiceOut)
def get_voice(request: HttpRequest) -> HttpResponse:
    """Show the voice that speaks."""
    return json_answer(voice.voice())


@router.put("/voice", auth=staff("scheduler.change_setting"), response=VoiceOut)
def change_voice(request: HttpRequest, change: VoiceChange) -> HttpResponse:
    """Let another voice speak from the next call on."""
    chosen = voice.choose_voice(change.voice_id, acting_user(request), OVER_THE_API)
    if chosen is None:
        raise Invalid([("/voice_id", "is not one of the voices of GET /api/settings/voices")])
    return json_answer(chosen)


def _prompt() -> dict[str, Any]:
    found = Setting.objects.filter(key=voice.PROMPT_KEY).values_list("value", "updated_at").first()
    value, updated_at = found or (voice.DEFAULT_PROMPT, None)
    return {"key": voice.PROMPT_KEY, "value": value, "updated_at": moment(updated_at) or "N/A"}
