"""The published schema and its page: whole, true and without the network."""

import json
import re

import pytest
from django.contrib.staticfiles import finders

from scheduler.rest.access import OpenToAll
from scheduler.tests.rest_world import World, ask, routes, superuser

REFERENCE = re.compile(r'"\$ref": ?"#/([^"]+)"')


@pytest.fixture(scope="module")
def schema():
    answer = ask("/api/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def published(schema):
    return {
        (method.upper(), path): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_openapi_3_1(schema):
    assert schema["openapi"].startswith("3.1.")


def test_every_route_is_published_with_an_id_of_its_own_and_a_sentence(schema):
    expected = {
        (route.method, f"/api/{route.path}") for route in routes() if not isinstance(route.access, OpenToAll)
    }
    operations = published(schema)

    assert set(operations) == expected
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    assert [path for path, operation in operations.items() if not operation.get("description")] == []


def test_every_operation_names_its_errors_and_who_may_call_it(schema):
    for (method, path), operation in published(schema).items():
        assert {"401", "403", "422", "429", "500", "503"} <= set(operation["responses"]), path
        assert ("404" in operation["responses"]) or "{" not in path
        assert operation["security"], path
        used = {name for each in operation["security"] for name in each}
        assert used <= set(schema["components"]["securitySchemes"])
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert {"411", "413", "415"} <= set(operation["responses"]), (method, path)


def test_every_reference_leads_somewhere(schema):
    for reference in set(REFERENCE.findall(json.dumps(schema))):
        place = schema
        for name in reference.split("/"):
            place = place[name]
        assert place


def bodies(schema):
    """Yield where it stands and what is said of each body of requests and answers, those of problems once."""
    for (method, path), operation in published(schema).items():
        named = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for where, body in named.items():
            for media in body.get("content", {}).values():
                yield f"{method} {path} {where}", media
    for name, answer in schema["components"]["responses"].items():
        for media in answer["content"].values():
            yield name, media


def test_it_follows_the_specification(schema):
    from schemathesis.openapi import from_dict

    from_dict(schema).validate()
    with pytest.raises(Exception, match="wrong"):
        from_dict({**schema, "paths": {"wrong": {}}}).validate()


def test_every_body_has_an_example_that_its_schema_allows(schema):
    from jsonschema_rs import Draft202012Validator

    found = dict(bodies(schema))

    assert len(found) > 60
    for where, media in found.items():
        described = {**media["schema"], "components": schema["components"]}
        faults = [
            fault.message
            for fault in Draft202012Validator(described, validate_formats=True).iter_errors(media["example"])
        ]
        assert faults == [], where
        # What stands for any text where nobody thought of an example.
        assert '"text"' not in json.dumps(media["example"]), where


@pytest.mark.django_db
def test_problems_are_as_published(schema):
    world, staff = World.made(), superuser()
    required = set(schema["components"]["schemas"]["Problem"]["required"])
    for answer in (ask("/api/leads/"), ask("/api/leads/abc", **staff), ask("/api/leads/0", **staff)):
        operation = schema["paths"]["/api/leads/{lead_id}"]["get"]
        described = operation["responses"][str(answer.status_code)]["$ref"].rsplit("/", 1)[1]
        example = schema["components"]["responses"][described]["content"]["application/problem+json"][
            "example"
        ]
        assert required <= set(answer.json())
        assert example["title"] == answer.json()["title"]
    assert world.ids


def test_the_page_needs_nothing_from_elsewhere():
    answer = ask("/api/docs")
    html = answer.content.decode()
    files = re.findall(r'(?:src|href)="([^"]+)"', html)

    assert answer.status_code == 200
    assert len(files) >= 4
    assert "//" not in html.replace("<!DOCTYPE html>", "")
    for file in files:
        if file.startswith("/static/"):
            assert finders.find(file.removeprefix("/static/")), file
        else:
            assert ask(file).status_code == 200
