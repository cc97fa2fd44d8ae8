"""Between two tests the database is what the migrations made of it, whatever the first one did."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from database.tests import pristine

pytestmark = pytest.mark.django_db(transaction=True)


def held() -> dict[str, list[tuple]]:
    found = {}
    with connection.cursor() as cursor:
        for name in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(name)} ORDER BY 1")
            found[name] = cursor.fetchall()
    return found


def sessions(count: int) -> None:
    Session.objects.bulk_create(
        Session(session_key=f"{number:032}", session_data="x" * 500, expire_date=timezone.now())
        for number in range(count)
    )


def test_what_a_test_wrote_goes_and_what_it_changed_comes_back(django_db_setup) -> None:
    before = held()
    assert before["auth_permission"] and not before["django_session"]
    sessions(3)
    group = Group.objects.create(name="Made by a test")
    group.permissions.set(Permission.objects.all()[:5])
    Permission.objects.filter(codename="view_user").update(name="Changed")
    ContentType.objects.get(model="session").delete()
    User.objects.create(username="ada").groups.add(group)

    django_db_setup.restore()

    assert held() == before


def test_a_large_table_is_emptied_with_all_that_refers_to_it(django_db_setup, monkeypatch) -> None:
    monkeypatch.setattr(pristine, "SMALL", 8192)
    before = held()
    sessions(200)
    users = User.objects.bulk_create(User(username=f"{number:0100}") for number in range(200))
    users[0].groups.add(Group.objects.create(name="Made by a test"))

    with CaptureQueriesContext(connection) as seen:
        django_db_setup.restore()

    truncated = {each["sql"] for each in seen if "TRUNCATE" in each["sql"]}
    assert truncated == {'TRUNCATE "django_session" CASCADE', 'TRUNCATE "auth_user" CASCADE'}
    assert held() == before


def test_an_untouched_database_is_only_looked_at(django_db_setup, django_assert_num_queries) -> None:
    with django_assert_num_queries(3) as seen:
        django_db_setup.restore()

    assert [each["sql"][:7].strip() for each in seen] == ["BEGIN", "SELECT", "COMMIT"]
