"""The agent's prompt and voice over REST."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.test import Client

from scheduler.models import Setting, StaffToken
from scheduler.voice import DEFAULT_PROMPT

pytestmark = pytest.mark.django_db

PROMPT = "/api/settings/system_prompt"


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("boss")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


def put(client: Client, path: str, body: object):
    return client.put(path, body, content_type="application/json")


def test_the_default_prompt_holds_until_somebody_changes_it(staff):
    assert staff.get(PROMPT).json() == {
        "key": "system_prompt_en",
        "value": DEFAULT_PROMPT,
        "updated_at": "N/A",
    }

    changed = put(staff, PROMPT, {"value": " Be kind. "}).json()

    assert changed["value"] == " Be kind. "
    assert changed["updated_at"].endswith("+00:00")
    assert staff.get(PROMPT).json() == changed
    assert staff.get(f"{PROMPT}/default").json() == {"default_prompt": DEFAULT_PROMPT}
    assert LogEntry.objects.get().user.username == "boss"


@pytest.mark.parametrize("value", ["", "  \n"])
def test_a_blank_prompt_is_refused_and_nothing_changes(staff, value):
    answer = put(staff, PROMPT, {"value": value})

    assert (answer.status_code, answer.json()["detail"]) == (400, "System prompt cannot be empty")
    assert not Setting.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"value": None}, {"value": 3}, {"value": "a\x00"}, {"value": "x" * 100_001}]
)
def test_a_prompt_that_is_no_text_is_422(staff, body):
    assert put(staff, PROMPT, body).status_code == 422


def test_a_voice_is_chosen_from_the_list(staff):
    voices = staff.get("/api/settings/voices").json()["voices"]

    answer = put(staff, "/api/settings/voice", {"voice_id": voices[1]["voice_id"], "voice_name": "ignored"})

    assert answer.json() == voices[1] == staff.get("/api/settings/voice").json()
    assert put(staff, "/api/settings/voice", {"voice_id": "nobody"}).status_code == 422
    assert staff.get("/api/settings/voice").json() == voices[1]


def test_the_voice_of_the_old_system_and_own_voices_can_be_chosen(staff):
    Setting.objects.create(key="voice_id", value="he-IL-Wavenet-A")
    Setting.objects.create(
        key="voices", value='[{"voice_id": "own", "voice_name": "Own"}, {"voice_id": 3}, 7]'
    )

    names = [each["voice_name"] for each in staff.get("/api/settings/voices").json()["voices"]]

    assert names == ["Rachel", "Adam", "Bella", "Own", "he-IL-Wavenet-A"]
    assert staff.get("/api/settings/voice").json()["voice_id"] == "he-IL-Wavenet-A"


def test_own_voices_that_are_no_json_take_nothing_away(staff):
    Setting.objects.create(key="voices", value="[{")

    assert len(staff.get("/api/settings/voices").json()["voices"]) == 3


def test_clearing_the_cache_succeeds_as_it_did(staff):
    assert staff.post("/api/settings/cache/clear").json()["success"] is True
