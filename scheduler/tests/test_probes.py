import json

import pytest
from django.db import connections
from django.test import Client

from database import figures, health

ADDRESSES = ["/health", "/health/live", "/health/ready", "/readiness", "/metrics"]
STRANGER = "203.0.113.7"


@pytest.fixture(autouse=True)
def nothing_remembered():
    health._probe.forget()
    figures._shared.forget()
    yield
    health._probe.forget()
    figures._shared.forget()


@pytest.mark.parametrize("address", ["/health", "/health/", "/health/live", "/health/live/"])
def test_the_process_says_it_lives_and_touches_no_database(client: Client, address):
    # Without the django_db mark pytest-django raises at any use of a connection.
    answer = client.get(address)

    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
    assert not answer.cookies


@pytest.mark.parametrize("address", ["/health/ready", "/health/ready/", "/readiness", "/readiness/"])
@pytest.mark.django_db(transaction=True)
def test_a_process_with_its_database_is_ready(client: Client, address):
    answer = client.get(address)

    assert answer.status_code == 200, answer.content
    assert answer.json()["status"] == "ready"
    assert answer.json()["database"] == "connected"
    assert answer.json()["unapplied_migrations"] == []
    assert not answer.cookies


def test_a_process_without_its_database_lives_but_is_not_ready(client: Client, monkeypatch):
    for name, value in {"HOST": "127.0.0.1", "PORT": "1", "PASSWORD": "hunter2"}.items():
        monkeypatch.setitem(connections["default"].settings_dict, name, value)

    answer = client.get("/readiness")

    assert answer.status_code == 503
    assert answer.json()["status"] == "not_ready"
    assert answer.json()["database"] == "disconnected"
    assert "hunter2" not in answer.content.decode()
    assert client.get("/health").status_code == 200
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert "scheduler_database_up 0.0" in metrics.content.decode()
    assert "scheduler_queue_leads" not in metrics.content.decode()


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.django_db(transaction=True)
def test_probes_are_neither_redirected_nor_refused_for_their_host(client: Client, settings, address):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["calls.example.com"]
    settings.DEBUG = False

    for host in ("10.1.2.3:8000", "evil.example", "[::1]", "", "not a host"):
        answer = client.get(address, headers={"host": host})
        assert answer.status_code == 200, (host, answer.content)
        assert "evil.example" not in answer.content.decode()


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.django_db(transaction=True)
def test_head_has_the_status_of_get_and_other_methods_are_refused(client: Client, address):
    head = client.head(address)
    assert (head.status_code, head.content) == (200, b"")

    for method in ("post", "put", "patch", "delete", "options"):
        answer = getattr(client, method)(address)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_a_longer_address_is_no_probe(client: Client):
    for address in ("/healthy", "/health/ready/now", "/metrics/x"):
        assert client.get(address).status_code == 404


def test_answers_are_not_to_be_kept_by_caches(client: Client):
    assert client.get("/health").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.django_db(transaction=True)
def test_this_machine_may_read_the_metrics(client: Client, peer):
    assert client.get("/metrics", REMOTE_ADDR=peer).status_code == 200


@pytest.mark.parametrize("peer", [STRANGER, "10.0.0.1", "192.168.1.1", "2001:db8::1", "", "localhost"])
def test_other_machines_may_not_read_the_metrics(client: Client, peer):
    answer = client.get("/metrics", REMOTE_ADDR=peer)

    assert answer.status_code == 403
    assert "scheduler_" not in answer.content.decode()


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host", "Via"]
)
def test_nobody_reads_the_metrics_through_a_proxy_on_this_machine(client: Client, header):
    assert client.get("/metrics", headers={header: "127.0.0.1"}, REMOTE_ADDR="127.0.0.1").status_code == 403


def test_a_forged_forwarding_header_does_not_make_a_stranger_local(client: Client):
    answer = client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, REMOTE_ADDR=STRANGER)

    assert answer.status_code == 403


@pytest.mark.django_db(transaction=True)
def test_with_a_token_everybody_needs_it_and_nothing_else(client: Client, settings):
    settings.METRICS_TOKEN = "hunter2-hunter2"

    for wrong in ("", "Bearer", "Bearer wrong", "Basic hunter2-hunter2", "hunter2-hunter2", "Bearer hünter2"):
        answer = client.get("/metrics", headers={"authorization": wrong}, REMOTE_ADDR="127.0.0.1")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), wrong
        assert "hunter2" not in answer.content.decode()
    right = client.get("/metrics", headers={"authorization": "Bearer hunter2-hunter2"}, REMOTE_ADDR=STRANGER)
    assert right.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_answer_of_readiness_holds_nothing_about_the_server(client: Client):
    text = json.dumps(client.get("/health/ready").json())

    configured = connections["default"].settings_dict
    for secret in ("HOST", "NAME", "USER"):
        assert not configured[secret] or configured[secret] not in text
