import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from legacy.models import ImportRowDigest
from scheduler.models import Setting
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def settings_stored() -> list[Setting]:
    return [
        Setting.objects.create(key=f"{number} {text[:200]}", value=text)
        for number, text in enumerate(staff.NASTY)
    ]


def test_the_root_leads_people_to_the_admin(client: Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))


def test_health_answers_without_a_sign_in(client: Client) -> None:
    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy"}


def test_anonymous_users_get_the_sign_in_page_for_every_page_of_every_model(client: Client) -> None:
    sign_in = reverse("admin:login")
    for model in admin.site._registry:
        for path in (staff.address(model, "changelist"), staff.address(model, "change", 1)):
            answer = client.get(path)
            assert answer.status_code == 302 and answer["Location"].startswith(sign_in), path
    assert "Log in" in client.get(sign_in).content.decode()


def test_a_user_who_is_not_staff_gets_the_sign_in_page(client: Client, django_user_model) -> None:
    client.force_login(django_user_model.objects.create_user("nobody"))

    assert client.get(reverse("admin:index")).status_code == 302


def test_the_overview_names_every_model_to_a_superuser_and_none_to_staff_without_permissions(
    admin_client: Client,
) -> None:
    everything = staff.page(admin_client, reverse("admin:index"))
    nothing = staff.page(staff.staff_client(), reverse("admin:index"))

    for model in admin.site._registry:
        assert staff.address(model, "changelist") in everything
        assert staff.address(model, "changelist") not in nothing


def test_the_digests_of_imported_rows_are_no_page_of_the_admin() -> None:
    assert not admin.site.is_registered(ImportRowDigest)


def test_every_page_of_settings_opens_with_awkward_texts(admin_client: Client, settings_stored) -> None:
    staff.check_pages_open(admin_client, Setting, "words")

    assert staff.ESCAPED_SCRIPT in staff.page(admin_client, staff.address(Setting, "changelist"))


def test_the_list_of_settings_makes_no_query_per_row(admin_client: Client) -> None:
    def make(number: int) -> None:
        Setting.objects.create(key=f"key {number}", value=staff.LONG)

    staff.check_lists_have_no_query_per_row(admin_client, Setting, make)


def test_the_list_of_settings_shows_the_beginning_of_a_long_value(admin_client: Client) -> None:
    Setting.objects.create(key="prompt", value=staff.LONG)

    html = staff.page(admin_client, staff.address(Setting, "changelist"))

    assert f"{staff.LONG[:100]}…" in html
    assert staff.LONG[:200] not in html


def test_settings_are_closed_to_staff_without_permissions(settings_stored) -> None:
    staff.check_closed_to_staff_without_permissions(Setting, settings_stored[0])


def test_a_setting_is_added_and_edited(admin_client: Client) -> None:
    assert staff.add(admin_client, Setting, key="voice", value="Adam").status_code == 302
    setting = Setting.objects.get()
    assert staff.edit(admin_client, setting, value=staff.SCRIPT).status_code == 302

    setting.refresh_from_db()
    assert (setting.key, setting.value) == ("voice", staff.SCRIPT)


def test_the_key_of_another_setting_is_refused_beside_the_field(admin_client: Client) -> None:
    Setting.objects.create(key="voice", value="Adam")
    sentence = ["A setting with this key exists already."]

    assert staff.errors_of(staff.add(admin_client, Setting, key="voice", value="x")) == {"key": sentence}


def test_a_setting_without_a_key_is_refused(admin_client: Client) -> None:
    assert "key" in staff.errors_of(staff.add(admin_client, Setting, key="", value="x"))


def test_texts_in_a_form_take_the_direction_of_their_script(admin_client: Client) -> None:
    setting = Setting.objects.create(key="prompt", value=staff.HEBREW)

    html = staff.page(admin_client, staff.address(Setting, "change", setting.pk))

    textarea = html[html.index('<textarea name="value"') :].partition(">")[0]
    assert 'dir="auto"' in textarea


def test_a_key_too_long_for_its_index_is_refused(admin_client: Client) -> None:
    key = "".join(chr(0x4E00 + number) for number in range(10_000))

    errors = staff.errors_of(staff.add(admin_client, Setting, key=key, value="x"))

    assert errors == {"__all__": ["A text is too long for its index; shorten it."]}
