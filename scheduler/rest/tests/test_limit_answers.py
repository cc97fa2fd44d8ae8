"""What partners and guessers are told: 429, Retry-After and the fields of the RateLimit draft."""

import re

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from scheduler.rest import limits
from scheduler.rest.limits import (
    Guessers,
    add_limit_headers,
    count_failed_attempt,
    count_partner_request,
    refuse_guessers,
)
from scheduler.rest.problems import Problem

pytestmark = pytest.mark.django_db


def request_from(peer: str = "192.0.2.1"):
    return RequestFactory().get("/api/leads/", REMOTE_ADDR=peer)


def test_a_partner_s_requests_above_its_limit_are_refused_in_the_old_words():
    for _ in range(3):
        count_partner_request(request_from(), 7, 3)

    with pytest.raises(Problem) as refused:
        count_partner_request(request_from(), 7, 3)

    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    assert refused.value.detail == "Rate limit exceeded. Maximum 3 requests per 60 seconds."
    assert refused.value.headers["RateLimit-Policy"] == '"default";q=3;w=60'
    assert 55 <= int(refused.value.headers["Retry-After"]) <= 61
    count_partner_request(request_from(), 8, 3)


def test_each_answer_says_how_many_requests_are_left():
    request = request_from()
    for _ in range(2):
        count_partner_request(request, 7, 5)
    answer = HttpResponse()

    add_limit_headers(request, answer)

    assert answer["RateLimit-Policy"] == '"default";q=5;w=60'
    left = re.fullmatch(r'"default";r=3;t=(\d+)', answer["RateLimit"])
    assert left and 55 <= int(left[1]) <= 61
    assert "Retry-After" not in answer


def test_an_answer_to_a_request_that_is_not_counted_says_nothing():
    answer = HttpResponse()

    add_limit_headers(request_from(), answer)

    assert "RateLimit" not in answer


def fail(peer: str, times: int) -> None:
    for _ in range(times):
        count_failed_attempt(request_from(peer))


def test_an_address_that_fails_too_often_is_refused_before_anything_is_looked_at(django_assert_num_queries):
    fail("192.0.2.1", 20)
    refuse_guessers(request_from("192.0.2.1"))

    with pytest.raises(Problem) as refused:
        count_failed_attempt(request_from("192.0.2.1"))

    assert (refused.value.status, refused.value.code) == (429, "too_many_failed_attempts")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 61
    assert "192.0.2.1" not in refused.value.detail
    with django_assert_num_queries(0), pytest.raises(Problem):
        refuse_guessers(request_from("192.0.2.1"))
    refuse_guessers(request_from("192.0.2.2"))


def test_another_process_learns_of_a_guesser_at_its_next_failure(monkeypatch):
    fail("192.0.2.1", 20)
    monkeypatch.setattr(limits, "guessers", Guessers())

    with pytest.raises(Problem):
        count_failed_attempt(request_from("192.0.2.1"))
    with pytest.raises(Problem):
        refuse_guessers(request_from("192.0.2.1"))


def test_addresses_of_one_network_fail_together():
    fail("2001:db8:1:2::1", 10)
    fail("2001:db8:1:2::2", 10)

    with pytest.raises(Problem):
        count_failed_attempt(request_from("2001:db8:1:2::3"))


def test_an_invented_header_does_not_make_another_address(settings):
    settings.TRUSTED_PROXIES = ()
    for number in range(20):
        request = RequestFactory().get(
            "/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}"
        )
        count_failed_attempt(request)

    with pytest.raises(Problem):
        count_failed_attempt(request_from("192.0.2.1"))


def test_a_guesser_is_forgotten_when_its_time_is_over():
    guessers = Guessers()
    guessers.remember("192.0.2.1", 60)
    guessers.remember("192.0.2.2", -1)

    assert 59 < guessers.wait("192.0.2.1") <= 60
    assert guessers.wait("192.0.2.2") == 0
    assert guessers.wait("192.0.2.3") == 0


def test_the_memory_for_guessers_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "REMEMBERED_ADDRESSES", 100)
    guessers = Guessers()

    for number in range(1000):
        guessers.remember(f"192.0.2.{number}", 60)

    assert len(guessers._until) <= 100
    assert guessers.wait("192.0.2.999") > 0
