"""What the tests of the admin pages share: users, addresses, and texts that break pages."""

import re
import sys
from collections.abc import Callable
from html import unescape
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from scheduler.staff import groups

SCRIPT = "<script>alert('x')</script>"
ESCAPED_SCRIPT = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"
HEBREW = "שלום עולם"
ARABIC = "مرحبا بالعالم"
LONG = "words " * 2000
NASTY = [SCRIPT, HEBREW, ARABIC, LONG, "'; DROP TABLE leads; --", "{{ 7|add:7 }} %s {} \\"]

MOST_QUERIES = 15


def address(model: type[Model], page: str, *arguments: object) -> str:
    """Return the address of an admin page: `changelist`, `add`, `change`, `history` or `delete`."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def staff_client(*permissions: str) -> Client:
    """Sign in a staff user who has only these permissions, each written as `leads.change_lead`."""
    user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    for name in permissions:
        app, codename = name.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def make_groups() -> None:
    """Give the groups what the migrations give: tests with real transactions empty all tables."""
    for migration in MigrationLoader(None).disk_migrations.values():
        groups.grant(apps, getattr(sys.modules[type(migration).__module__], "RIGHTS", {}))


def member(group: str) -> Client:
    """Sign in a staff user who is in one of the groups, and is called like it."""
    user = User.objects.create_user(group.lower().replace(" ", "-"), is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, path: str, **parameters: str | int) -> str:
    """Return a page that must answer 200."""
    answer = client.get(path, parameters)
    assert answer.status_code == 200, f"{path} {parameters}: {answer.status_code}"
    return answer.content.decode()


def rows_listed(html: str) -> int:
    """Return the number of rows in the table of a list."""
    return html.partition('id="result_list"')[2].partition("</table>")[0].count('<tr class="data-row')


def ids_listed(client: Client, model: type[Model], **parameters: str | int) -> set[int]:
    """Return the ids of the rows in a list."""
    html = page(client, address(model, "changelist"), **parameters)
    return {int(value) for value in re.findall(r'name="_selected_action" value="(\d+)"', html)}


def filter_links(html: str) -> list[str]:
    """Return the query strings behind the choices of the filters at the side of a list."""
    side = html.partition('id="changelist-filter"')[2]
    return [unescape(link) for link in re.findall(r'href="(\?[^"]*)"', side)]


def queries_of(client: Client, path: str) -> int:
    """Return how many queries a page makes."""
    with CaptureQueriesContext(connection) as queries:
        page(client, path)
    return len(queries)


def sent(form: Any) -> dict[str, Any]:
    """Return what a browser would send for an unchanged form of the admin."""
    data: dict[str, Any] = {}
    for bound in form:
        _put(data, bound.html_name, bound.field.widget, bound.value())
        if bound.field.show_hidden_initial:
            _put(data, bound.html_initial_name, bound.field.hidden_widget(), bound.initial)
    return data


def _put(data: dict[str, Any], name: str, widget: Any, value: Any) -> None:
    widget = getattr(widget, "widget", widget)  # without the links to add and change a related row
    for part in widget.get_context(name, value, {})["widget"].get("subwidgets") or [
        widget.get_context(name, value, {})["widget"]
    ]:
        if "name" not in part or "value" not in part:
            continue
        if part.get("type") == "checkbox":
            if part["attrs"].get("checked"):
                data[part["name"]] = "on"
        elif part["value"] is not None:
            shown = part["value"]
            if getattr(widget, "allow_multiple_selected", False):
                data[part["name"]] = shown
                continue
            data[part["name"]] = (shown[0] if shown else "") if isinstance(shown, list) else shown


def edit(client: Client, row: Model, **changes: object) -> Any:
    """Open the page of a row, change fields and save; return the answer."""
    return _send(client, address(type(row), "change", row.pk), changes)


def add(client: Client, model: type[Model], **values: object) -> Any:
    """Open the page that adds a row, fill in fields and save; return the answer."""
    return _send(client, address(model, "add"), values)


def _send(client: Client, path: str, values: dict[str, object]) -> Any:
    opened = client.get(path)
    assert opened.status_code == 200, f"{path}: {opened.status_code}"
    data = sent(opened.context["adminform"].form)
    for formset in opened.context["inline_admin_formsets"]:
        data.update(sent(formset.formset.management_form))
    return client.post(path, {**data, **values})


def errors_of(answer: Any) -> dict[str, list[str]]:
    """Return the errors of the form that an answer shows again."""
    assert answer.status_code == 200, f"saved instead of refused: {answer.status_code}"
    return answer.context["adminform"].form.errors


def check_lists_have_no_query_per_row(
    client: Client, model: type[Model], make: Callable[[int], object]
) -> None:
    """Compare the queries of a list of 5 rows and of 30; `make(number)` adds one row."""
    path = address(model, "changelist")
    for number in range(model._default_manager.count(), 5):
        make(number)
    queries_of(client, path)  # fills the cache of content types
    few = queries_of(client, path)
    for number in range(5, 30):
        make(number)
    assert rows_listed(page(client, path)) >= 30
    assert queries_of(client, path) == few <= MOST_QUERIES


def check_pages_open(client: Client, model: type[Model], *searches: str) -> None:
    """Open the list, each search, each choice of each filter, and the pages of every row."""
    path = address(model, "changelist")
    html = page(client, path)
    assert rows_listed(html) == model._default_manager.count() > 0
    for query in filter_links(html):
        assert client.get(path + query).status_code == 200, query
    for text in [*NASTY, *searches]:
        page(client, path, q=text)
    for row in model._default_manager.all():
        assert SCRIPT not in page(client, address(model, "change", row.pk))
        page(client, address(model, "history", row.pk))
    assert SCRIPT not in html


def check_closed_to_staff_without_permissions(model: type[Model], row: Model) -> None:
    """Each page of a model answers 403 to a staff user without permissions."""
    client = staff_client()
    for path in (address(model, "changelist"), address(model, "add"), address(model, "change", row.pk)):
        assert client.get(path).status_code == 403, path
        assert client.post(path, {}).status_code == 403, path
