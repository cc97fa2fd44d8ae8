"""Settings in the admin: rules by key, versions, differences, restoring, the voice."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from scheduler import setting_changes, voice
from scheduler.models import Setting, SettingVersion, StaffToken
from scheduler.setting_diff import COMPARED_LINES, lines_between
from scheduler.staff.history import told
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

PROMPT = voice.PROMPT_KEY


@pytest.fixture
def prompt() -> Setting:
    return Setting.objects.create(key=PROMPT, value="Be kind.\nBe short.\n")


def versions_address(setting: Setting) -> str:
    return reverse("admin:scheduler_setting_versions", args=[setting.pk])


def restore_address(setting: Setting, version: SettingVersion) -> str:
    return reverse("admin:scheduler_setting_restore", args=[setting.pk, version.pk])


def versions(key: str = PROMPT) -> list[tuple[str, str | None]]:
    """Return values and writers, oldest first."""
    found = SettingVersion.objects.filter(key=key).order_by("pk").select_related("written_by")
    return [(each.value, each.written_by.get_username() if each.written_by else None) for each in found]


def test_a_change_in_the_admin_keeps_the_value_before_and_the_one_after(
    admin_client: Client, prompt: Setting
) -> None:
    assert staff.edit(admin_client, prompt, value="Be brief.").status_code == 302

    prompt.refresh_from_db()
    assert prompt.value == "Be brief."
    assert [(value.strip(), by) for value, by in versions()] == [
        ("Be kind.\nBe short.", None),
        ("Be brief.", "admin"),
    ]
    changes = told(LogEntry.objects.get()).changes
    assert [(change.label, change.after) for change in changes] == [("Value", "Be brief.")]


def test_a_change_over_the_api_writes_a_version_and_before_and_after(prompt: Setting) -> None:
    boss = User.objects.create_superuser("boss")
    client = Client(headers={"Authorization": f"Bearer {StaffToken.issue(boss)[1]}"})

    for value in ("First.", "Second.", "Second."):
        path = "/api/settings/system_prompt"
        assert client.put(path, {"value": value}, content_type="application/json").status_code == 200

    assert versions()[1:] == [("First.", "boss"), ("Second.", "boss")]
    newest = told(LogEntry.objects.latest("pk"))
    assert newest.note == "Changed over the API"
    assert [(change.before, change.after) for change in newest.changes] == [("First.", "Second.")]
    assert LogEntry.objects.count() == 2


def test_a_value_that_came_by_raw_sql_becomes_a_version_before_it_is_overwritten(admin_user: User) -> None:
    setting_changes.write(PROMPT, "one", admin_user.pk)
    Setting.objects.filter(key=PROMPT).update(value="two, by an import")

    setting_changes.write(PROMPT, "three", admin_user.pk)

    assert versions() == [("one", "admin"), ("two, by an import", None), ("three", "admin")]


def test_an_added_setting_has_a_version_and_a_deleted_one_keeps_them(admin_client: Client) -> None:
    assert staff.add(admin_client, Setting, key="greeting", value="Hello").status_code == 302
    setting = Setting.objects.get()
    Setting.objects.update(value="Hi")

    admin_client.post(staff.address(Setting, "delete", setting.pk), {"confirmed": "yes"})

    assert not Setting.objects.exists()
    assert versions("greeting") == [("Hello", "admin"), ("Hi", None)]


def test_what_somebody_else_has_changed_meanwhile_is_not_overwritten(
    admin_client: Client, prompt: Setting
) -> None:
    form = admin_client.get(staff.address(Setting, "change", prompt.pk)).context["adminform"].form
    data = {**staff.sent(form), "value": "Mine."}
    Setting.objects.update(value="Theirs.")

    answer = admin_client.post(staff.address(Setting, "change", prompt.pk), data)

    assert "Somebody else has changed this value" in staff.errors_of(answer)["value"][0]
    assert Setting.objects.get().value == "Theirs."


def test_ends_of_lines_as_browsers_send_them_are_no_change_of_somebody_else(
    admin_client: Client, prompt: Setting
) -> None:
    form = admin_client.get(staff.address(Setting, "change", prompt.pk)).context["adminform"].form
    sent = {name: str(value).replace("\n", "\r\n") for name, value in staff.sent(form).items()}

    answer = admin_client.post(staff.address(Setting, "change", prompt.pk), {**sent, "value": "Mine."})

    assert answer.status_code == 302


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (PROMPT, " \n "),
        ("system_prompt_he", "x" * 100_001),
        ("max_concurrent_calls", "0"),
        ("max_concurrent_calls", "-1"),
        ("max_concurrent_calls", "many"),
        ("max_concurrent_calls", "9" * 30),
        ("max_concurrent_calls", "٣"),
        ("voice_id", "nobody"),
        ("voices", "[{"),
        ("voices", "[" * 100_000),
        ("voices", '{"voice_id": "a"}'),
        ("voices", '[{"voice_id": "a", "voice_name": ""}]'),
        ("voices", '[{"voice_id": "a", "voice_name": "A"}, {"voice_id": "a", "voice_name": "B"}]'),
    ],
)
def test_a_value_that_its_key_does_not_allow_is_refused_with_a_sentence(
    admin_client: Client, key: str, value: str
) -> None:
    (sentence,) = staff.errors_of(staff.add(admin_client, Setting, key=key, value=value))["value"]

    assert sentence.endswith(".")
    assert not Setting.objects.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_concurrent_calls", "25"),
        ("voice_id", voice.STOCK_VOICES[1]["voice_id"]),
        ("voices", '[{"voice_id": "own", "voice_name": "קול"}]'),
        ("system_prompt_he", staff.HEBREW),
        ("anything_else", "[{"),
    ],
)
def test_a_value_that_its_key_allows_is_stored(admin_client: Client, key: str, value: str) -> None:
    assert staff.add(admin_client, Setting, key=key, value=value).status_code == 302
    assert Setting.objects.get().value == value


def test_the_versions_show_what_changed_as_text_and_not_as_markup(
    admin_client: Client, admin_user: User, prompt: Setting
) -> None:
    setting_changes.write(PROMPT, f"Be kind.\n{staff.SCRIPT}\n{staff.HEBREW}\n", admin_user.pk)

    html = staff.page(admin_client, versions_address(prompt))

    assert f'<ins dir="auto">{staff.ESCAPED_SCRIPT}</ins>' in html and staff.SCRIPT not in html
    assert '<del dir="auto">Be short.</del>' in html
    assert html.count('<span class="sr-only">added: </span>') == 2
    assert html.count('<span class="sr-only">removed: </span>') == 1


def test_any_two_versions_are_compared(admin_client: Client, admin_user: User, prompt: Setting) -> None:
    for word in ("one", "two", "three"):
        setting_changes.write(PROMPT, word, admin_user.pk)
    first, _, _, last = SettingVersion.objects.order_by("pk")

    html = staff.page(admin_client, versions_address(prompt), before=last.pk, after=first.pk)

    assert '<del dir="auto">three</del>' in html and '<ins dir="auto">Be kind.</ins>' in html
    for wrong in ("x", "0", "9" * 30, str(SettingVersion.objects.create(key="other", value="x").pk)):
        assert admin_client.get(versions_address(prompt), {"after": wrong}).status_code == 404


def test_fifty_versions_take_few_queries(
    admin_client: Client, admin_user: User, prompt: Setting, django_assert_max_num_queries: Any
) -> None:
    for number in range(50):
        setting_changes.write(PROMPT, f"Be kind.\n{number}", admin_user.pk)
    with django_assert_max_num_queries(staff.MOST_QUERIES):
        assert "Page 1 of 3" in staff.page(admin_client, versions_address(prompt))
    staff.page(admin_client, versions_address(prompt), p=3)


def test_a_setting_without_versions_says_so(admin_client: Client, prompt: Setting) -> None:
    assert "No versions yet" in staff.page(admin_client, versions_address(prompt))


def test_a_version_is_restored_after_a_question(
    admin_client: Client, admin_user: User, prompt: Setting
) -> None:
    setting_changes.write(PROMPT, "Shout.", admin_user.pk)
    first = SettingVersion.objects.order_by("pk")[0]

    asked = admin_client.post(restore_address(prompt, first)).content.decode()
    prompt.refresh_from_db()
    assert "be as it was on" in asked and prompt.value == "Shout."
    admin_client.post(restore_address(prompt, first), {"confirmed": "yes"})

    prompt.refresh_from_db()
    assert prompt.value == first.value
    assert [value for value, _ in versions()] == [first.value, "Shout.", first.value]
    assert "Restored the version of" in told(LogEntry.objects.get()).note


def test_a_version_that_is_not_allowed_any_more_is_not_restored(admin_client: Client) -> None:
    setting = Setting.objects.create(key="max_concurrent_calls", value="5")
    old = SettingVersion.objects.create(key=setting.key, value="many")

    answer = admin_client.post(restore_address(setting, old), {"confirmed": "yes"}, follow=True)

    assert "not allowed any more" in answer.content.decode()
    assert Setting.objects.get().value == "5"


def test_versions_and_voice_need_their_permissions(prompt: Setting) -> None:
    version = SettingVersion.objects.create(key=PROMPT, value="x")
    stranger, reader = staff.staff_client(), staff.staff_client("scheduler.view_setting")
    voice_page = reverse("admin:scheduler_setting_voice")

    for path in (versions_address(prompt), voice_page, reverse("admin:scheduler_setting_prompt")):
        assert stranger.get(path).status_code == 403
    assert "Restore<span" not in staff.page(reader, versions_address(prompt))
    for path in (restore_address(prompt, version), voice_page):
        assert reader.post(path, {"confirmed": "yes", "voice_id": "x"}).status_code == 403
    prompt.refresh_from_db()
    assert prompt.value.startswith("Be kind.")


def test_the_default_voice_is_chosen_from_the_voices(admin_client: Client) -> None:
    path = reverse("admin:scheduler_setting_voice")
    wanted = voice.STOCK_VOICES[2]

    refused = admin_client.post(path, {"voice_id": "nobody"})
    assert refused.context["form"].errors and not Setting.objects.exists()
    admin_client.post(path, {"voice_id": wanted["voice_id"]})

    assert voice.voice() == wanted
    assert versions("voice_id") == [(wanted["voice_id"], "admin")]
    assert LogEntry.objects.count() == 2


def test_the_system_prompt_begins_with_the_default_text(admin_client: Client) -> None:
    answer = admin_client.get(reverse("admin:scheduler_setting_prompt"), follow=True)

    form = answer.context["adminform"].form
    assert (form["key"].value(), form["value"].value()) == (PROMPT, voice.DEFAULT_PROMPT)
    setting = Setting.objects.create(key=PROMPT, value="x")
    answer = admin_client.get(reverse("admin:scheduler_setting_prompt"))
    assert answer["Location"] == staff.address(Setting, "change", setting.pk)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("a", "a", []),
        ("a\n", "a", ["same"]),
        ("", "a", ["added"]),
        ("a", "", ["removed"]),
        (
            "\n".join("abcdefghij") + "\nx",
            "\n".join("abcdefghij") + "\ny",
            ["left out"] + ["same"] * 3 + ["removed", "added"],
        ),
    ],
)
def test_lines_between_two_texts(before: str, after: str, kinds: list[str]) -> None:
    assert [line.kind for line in lines_between(before, after)] == kinds


def test_texts_of_very_many_lines_are_shown_whole() -> None:
    before, after = "a\n" * COMPARED_LINES, "b\n" * COMPARED_LINES

    assert len(lines_between(before, after)) == 2 * COMPARED_LINES
