"""Guessing of passwords is limited by address."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from scheduler.rest import limits

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
REFUSED = "Too many failed attempts to sign in from your address."


@pytest.fixture(autouse=True)
def boss() -> User:
    return User.objects.create_superuser("boss", password="the-right-one")


def sign_in(client: Client, password: str, peer: str = "192.0.2.1"):
    return client.post(LOGIN, {"username": "boss", "password": password}, REMOTE_ADDR=peer)


def test_the_right_password_signs_in(client: Client):
    assert sign_in(client, "the-right-one").status_code == 302
    assert client.get("/admin/").status_code == 200


def test_after_twenty_wrong_passwords_not_even_the_right_one_signs_in(client: Client):
    for _ in range(20):
        assert REFUSED not in sign_in(client, "wrong").content.decode()

    answer = sign_in(client, "the-right-one")

    assert answer.status_code == 200
    assert REFUSED in answer.content.decode()
    assert sign_in(client, "the-right-one", peer="192.0.2.2").status_code == 302


def test_another_process_refuses_the_guesser_at_once(client: Client):
    for _ in range(20):
        sign_in(client, "wrong")
    limits.guessers.forget()  # what another process does not know

    assert REFUSED in sign_in(client, "the-right-one").content.decode()


def test_wrong_keys_and_wrong_passwords_count_together(client: Client):
    for _ in range(10):
        sign_in(client, "wrong")
    for _ in range(10):
        client.get("/api/leads/", headers={"X-API-Key": "ais_wrong"}, REMOTE_ADDR="192.0.2.1")

    assert REFUSED in sign_in(client, "the-right-one").content.decode()


def test_good_sign_ins_count_for_nothing():
    for _ in range(25):
        assert sign_in(Client(), "the-right-one").status_code == 302
