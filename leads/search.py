"""Finding leads the way people look for them: by name, e-mail, number of the row or phone in any spelling."""

from django.db.models import Q

from leads.models import Lead
from leads.phones import searched_digits

MOST_LEADS = 1000
HELP = "Name, e-mail, phone in any spelling, or the id."


def matching(term: str) -> Q:
    """Return the condition on leads; every word must occur in one of the fields."""
    digits = searched_digits(term)
    if digits:
        condition = Q(phone__contains=digits) | Q(phone__contains=term.strip())
    else:
        condition = Q()
        for word in term.split():
            condition &= Q(name__icontains=word) | Q(email__icontains=word) | Q(phone__icontains=word)
    return condition | by_id(term)


def row_number(term: str) -> int | None:
    """Return the id that somebody typed, None for other text and for numbers above a bigint."""
    word = term.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None


def by_id(term: str) -> Q:
    """Return the condition for a row's own id; false for text that is none."""
    number = row_number(term)
    return Q(pk__in=[]) if number is None else Q(pk=number)


def ids_matching(term: str) -> list[int]:
    """Return at most `MOST_LEADS` ids, so that calls and meetings are then found by their lead index."""
    return list(Lead.objects.filter(matching(term)).order_by().values_list("pk", flat=True)[:MOST_LEADS])
