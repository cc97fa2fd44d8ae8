"""Whose address a request comes from. Only proxies that the operator named are believed about others."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SOCKET = "unix"
# A provider hands each customer at least a /64, so counting single addresses would count nobody.
IPV6_PREFIX = 64


def networks(words: Iterable[str]) -> tuple[Network | str, ...]:
    """Parse TRUSTED_PROXIES: addresses, networks, or `unix` for a proxy that comes through a socket.

    Raises ImproperlyConfigured.
    """
    try:
        return tuple(word if word == SOCKET else ip_network(word, strict=False) for word in words)
    except ValueError:
        raise ImproperlyConfigured(
            "TRUSTED_PROXIES must be addresses or networks, such as 10.0.0.0/8, or unix, separated by commas."
        ) from None


def client_address(request: HttpRequest) -> str:
    """Return the client's IPv4 address or IPv6 network of 64 bits; `unix` for a peer without an address.

    X-Forwarded-For is read from the right, as far as trusted proxies wrote it: whatever stands further left
    came from the client and may be invented.
    """
    trusted: Sequence[Network | str] = settings.TRUSTED_PROXIES
    nearest = _parsed(str(request.META.get("REMOTE_ADDR", "")))
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    while forwarded and _is_trusted(nearest, trusted):
        further = _parsed(forwarded.pop())
        if further is None:
            break
        nearest = further
    return _counted_as(nearest)


def _parsed(text: str) -> Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]  # [2001:db8::1]:4711
    elif text.count(":") == 1:
        text = text.partition(":")[0]  # 192.0.2.1:4711
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped  # a socket for both families shows 192.0.2.1 as ::ffff:192.0.2.1
    return address


def _is_trusted(address: Address | None, trusted: Sequence[Network | str]) -> bool:
    if address is None:
        return SOCKET in trusted
    return any(address in network for network in trusted if not isinstance(network, str))


def _counted_as(address: Address | None) -> str:
    if address is None:
        return SOCKET
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
