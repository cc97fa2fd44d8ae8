import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

from scheduler.rest.addresses import client_address, networks


def address(peer: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))


@pytest.fixture
def behind_proxies(settings):
    settings.TRUSTED_PROXIES = networks(["10.0.0.0/8", "2001:db8:ffff::1"])


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "203.0.113.9, 10.0.0.1", "unix", "", "127.0.0.1"])
def test_nobody_is_believed_about_others_without_trusted_proxies(settings, forwarded):
    settings.TRUSTED_PROXIES = networks([])

    assert address("192.0.2.1", forwarded) == "192.0.2.1"
    assert address("10.0.0.1", forwarded) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client wrote the first itself
        ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:1:2::9]:4711", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:ffff::1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:ffff::2", "203.0.113.9", "2001:db8:ffff::/64"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("", "203.0.113.9", "unix"),
    ],
)
def test_a_trusted_proxy_is_believed_as_far_as_proxies_wrote(behind_proxies, peer, forwarded, client):
    assert address(peer, forwarded) == client


def test_a_proxy_that_comes_through_a_socket_can_be_trusted(settings):
    settings.TRUSTED_PROXIES = networks(["unix"])

    assert address("", "198.51.100.1, 203.0.113.9") == "203.0.113.9"
    assert address("192.0.2.1", "203.0.113.9") == "192.0.2.1"


def test_all_addresses_of_a_customer_s_network_are_one():
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert address("2001:db8:1:3::1") == "2001:db8:1:3::/64"


def test_a_wrong_network_is_refused_by_the_variable_s_name():
    with pytest.raises(ImproperlyConfigured, match="^TRUSTED_PROXIES must be"):
        networks(["10.0.0.0/8", "proxy.example"])
