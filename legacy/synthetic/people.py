"""Leads and partners: who is called, at which number, for whom."""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from legacy.synthetic import clock

MAX_LEADS = 5_000_000
SIGN_UP_DAYS = 30


class Country(NamedTuple):
    """Numbers of one country: dial code, mobile prefixes whose whole range is in use, digits after them."""

    region: str
    dial: str
    language: str
    prefixes: tuple[str, ...]
    digits: int
    # North American exchanges never begin with 0 or 1.
    floor: int = 0

    def phone(self, serial: int) -> str:
        """Give the E.164 number of a serial; different serials under MAX_LEADS give different numbers."""
        prefix = self.prefixes[serial % len(self.prefixes)]
        space = 10**self.digits - self.floor
        # The factor shares no divisor with any space, so it only shuffles the range.
        local = self.floor + (serial // len(self.prefixes) + 1) * 6_180_339 % space
        return f"+{self.dial}{prefix}{local:0{self.digits}d}"


COUNTRIES = (
    Country("US", "1", "en", ("212", "415", "305", "617", "312", "206", "512", "720"), 7, 2_000_000),
    Country("GB", "44", "en", ("7400", "7711", "7802", "7890", "7900", "7973"), 6),
    Country("FR", "33", "fr", ("61", "62", "66", "68"), 7),
    Country("DE", "49", "de", ("160", "170", "171", "175", "176"), 7),
    Country("ES", "34", "es", ("61", "62", "63", "65", "66"), 7),
    Country("IT", "39", "it", ("320", "328", "333", "338", "347", "349"), 7),
    Country("IL", "972", "he", ("53",), 7),
    Country("AE", "971", "ar", ("50", "52", "54", "55", "56"), 7),
    Country("AU", "61", "en", ("400", "410", "412", "414", "421", "432"), 6),
    Country("CH", "41", "de", ("76", "78", "79"), 7),
)

_GIVEN = {
    "en": ("Olivia", "Jack", "Amelia", "Noah", 'Robert "Bob"', "Siân", "Grace", "O'Shea", "Zoë", "Ava 🌟"),
    "fr": ("Chloé", "François", "Anaïs", "Jérôme", "Maëlle", "Luc", "Hélène", "Noël"),
    "de": ("Jürgen", "Käthe", "Lukas", "Mia", "Götz", "Anneliese", "Björn", "Heike"),
    "es": ("Íñigo", "Lucía", "José", "María", "Begoña", "Andrés", "Martín"),
    "it": ("Niccolò", "Giulia", "Matteo", "Sofia", "Nicolò", "Chiara", "Lorenzo"),
    "he": ("נועה", "דוד", "יעל", "משה", "תמר", "אורי", "שירה"),
    "ar": ("محمد", "فاطمة", "أحمد", "ليلى", "يوسف", "مريم", "خالد"),
}
_FAMILY = {
    "en": ("Smith", "O'Neill", "Taylor-Jones", "Nguyen", "Brown, Jr.", "McDonald", "Kowalski", "D'Arcy"),
    "fr": ("Lefèvre", "Dubois", "L'Hôte", "Garçon", "Béranger", "Müller", "de la Tour"),
    "de": ("Müller", "Weiß", "Schröder", "von Ahn", "Groß", "Jäger", "Schmidt"),
    "es": ("Muñoz", "García López", "Núñez", "Ibáñez", "Peña", "Etxeberria"),
    "it": ("D'Angelo", "Rossi", "De Santis", "Lo Presti", "Ferrari", "Esposito"),
    "he": ("כהן", "לוי", "מזרחי", "פרץ", "ביטון", "אברהם"),
    "ar": ("الهاشمي", "المنصوري", "حداد", "خوري", "السويدي", "نصر"),
}
_PARTNERS = (
    "Northwind Leads",
    "Lumière & Fils",
    'Agentur "Blau"',
    "שותפים בע״מ",
    "Café Société 🚀",
    "O'Reilly Media",
)


def _mix(number: int, seed: int) -> int:
    # A multiplicative hash: every lead's facts follow from its number, without a stored list of leads.
    value = (number * 2_654_435_761 + seed * 40_503 + 97) & 0xFFFFFFFF
    return (value ^ (value >> 15)) * 2_246_822_519 >> 3 & 0xFFFFFFFF


class Person(NamedTuple):
    name: str
    phone: str
    email: str | None
    country: Country


def person(lead: int, seed: int) -> Person:
    """Make up the person behind a lead id."""
    mixed = _mix(lead, seed)
    country = COUNTRIES[mixed % len(COUNTRIES)]
    given = _GIVEN[country.language]
    family = _FAMILY[country.language]
    name = f"{given[mixed // 16 % len(given)]} {family[mixed // 256 % len(family)]}"
    email = None if mixed % 11 == 0 else f"lead.{lead}+{country.region.lower()}@example.com"
    return Person(name, country.phone(lead), email, country)


def lead_rows(
    leads: int, seed: int, history: Callable[[int], tuple[str, int]]
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of `leads` in the columns of revision 7; history tells status and last change."""
    partners = partner_count(leads)
    for index in range(leads):
        lead = index + 1
        who = person(lead, seed)
        created = signed_up(index, leads)
        status, touched = history(index)
        yield (
            lead,
            who.name,
            who.phone,
            who.email,
            f"+{who.country.dial}",
            who.country.language,
            index // 3 % partners + 1 if index % 3 == 0 else None,
            status,
            clock.by_database(created),
            clock.by_database(touched or created),
        )


def signed_up(index: int, leads: int) -> int:
    """Spread the leads' arrival over the month before the first call."""
    month = SIGN_UP_DAYS * clock.DAY
    return clock.START - month + index * (month - 3600) // leads


def partner_count(leads: int) -> int:
    return max(3, leads // 1000)


def partner_rows(leads: int, rng: Random) -> Iterator[tuple[object, ...]]:
    """Yield the rows of `partners`."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    born = clock.by_database(clock.START - (SIGN_UP_DAYS + 1) * clock.DAY)
    for number in range(1, partner_count(leads) + 1):
        base = _PARTNERS[(number - 1) % len(_PARTNERS)]
        name = base if number <= len(_PARTNERS) else f"{base} {number}"
        key = "".join(rng.choices(alphabet, k=64))
        yield (number, name, key, int(number % 7 != 0), rng.choice((60, 100, 100, 500)), born, born)
