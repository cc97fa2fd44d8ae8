"""What staff do with partners, from the admin and over REST alike; each leaves its entry in the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now

from database.errors import constraint_of
from partners.models import Partner, PartnerApiKey
from scheduler.staff.display import written
from scheduler.staff.history import Change, changed_message

NAME_UNIQUE = "partners_name_unique"

# One statement however many leads there are. The partner itself is gone afterwards, so its name is written out.
REMEMBER_ORIGIN = """
INSERT INTO django_admin_log
    (action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message)
SELECT now(), %s, %s, id::text, left(name, 200), %s, %s FROM leads WHERE partner_id = %s
"""


class NameTaken(Exception):
    """Another partner has this name."""


class KeyIssuedMeanwhile(Exception):
    """The partner has a newer key than the caller knows of."""


def create(name: str, rate_limit: int, user_id: int) -> tuple[Partner, str]:
    """Make a partner and its first key; return both, the key for the only time. Raises NameTaken."""
    with _names_are_unique(), transaction.atomic():
        partner = Partner.objects.create(name=name, rate_limit=rate_limit)
        # The time of creation is the database's.
        partner.refresh_from_db(fields=["created_at"])
        row, key = PartnerApiKey.issue(partner)
        log(partner, ADDITION, f"Created over the API with the key {row.prefix}…", user_id)
    return partner, key


def change(partner_id: int, changes: Mapping[str, Any], user_id: int) -> bool:
    """Write the given columns of a partner; return False when there is none. Raises NameTaken."""
    with _names_are_unique(), transaction.atomic():
        partner = Partner.objects.select_for_update().filter(pk=partner_id).first()
        if partner is None:
            return False
        for name, value in changes.items():
            setattr(partner, name, value)
        if changes:
            partner.save(update_fields=[*changes, "updated_at"])
            log(partner, CHANGE, f"Changed {', '.join(sorted(changes))} over the API", user_id)
    return True


def newest_key(partner: Partner) -> int:
    """Return the id of the partner's newest key, 0 when it has none."""
    return partner.api_keys.aggregate(newest=Max("id"))["newest"] or 0


def rotate_key(
    partner_id: int, overlap: timedelta | None, user_id: int, *, newest: int | None = None
) -> tuple[Partner, str] | None:
    """Issue a key and end all others after `overlap`, None leaves them; return partner and key.

    The answer is None when there is no such partner. `newest` is the newest key that the caller saw: a form that is
    sent twice issues one key. Raises KeyIssuedMeanwhile when the partner has another one.
    """
    with transaction.atomic():
        # The lock: of two rotations at once the later one ends the key of the earlier one too.
        partner = Partner.objects.select_for_update().filter(pk=partner_id).first()
        if partner is None:
            return None
        if newest is not None and newest_key(partner) != newest:
            raise KeyIssuedMeanwhile
        changes = [] if overlap is None else end_keys(partner, overlap)
        row, key = PartnerApiKey.issue(partner)
        sentence = f"Issued the API key {row.prefix}…; {_fate_of_others(overlap)}"
        log(partner, CHANGE, sentence, user_id, changes)
    return partner, key


def _fate_of_others(overlap: timedelta | None) -> str:
    if overlap is None:
        return "the others stay as they are"
    return (
        f"the others end in {overlap.total_seconds() / 3600:g} hours" if overlap else "the others are revoked"
    )


def end_keys(partner: Partner, overlap: timedelta) -> list[Change]:
    """Let the live keys of a partner end now or after `overlap`; one that ends earlier stays so."""
    alive = partner.api_keys.filter(revoked_at=None)
    if not overlap:
        return _changed(alive, revoked_at=Now())
    end = Now() + overlap
    return _changed(alive.filter(Q(expires_at=None) | Q(expires_at__gt=end)), expires_at=end)


def revoke_keys(keys: QuerySet[PartnerApiKey], user_id: int) -> int:
    """Revoke those keys that are not revoked yet; return how many. Each is told in the history of its partner."""
    revoked = 0
    with transaction.atomic():
        for key in keys.filter(revoked_at=None).select_related("partner").order_by("pk"):
            # The condition again: the first of two people who revoke at once is the one in the history.
            if changes := _changed(
                PartnerApiKey.objects.filter(pk=key.pk, revoked_at=None), revoked_at=Now()
            ):
                sentence = f"Revoked the API key {key.prefix}…"
                log(key.partner, CHANGE, sentence, user_id, changes)
                log(key, CHANGE, "Revoked", user_id, changes)
                revoked += 1
    return revoked


def _changed(keys: QuerySet[PartnerApiKey], **values: Any) -> list[Change]:
    """Set one time of keys to the database's; return the values before and after."""
    (name,) = values
    before = {key.pk: getattr(key, name) for key in keys.select_for_update(of=("self",))}
    PartnerApiKey.objects.filter(pk__in=before).update(**values)
    title = "expires" if name == "expires_at" else "revoked"
    return [
        Change(f"API key {key} {title}", written(before[key.pk]), written(getattr(key, name)))
        for key in PartnerApiKey.objects.filter(pk__in=before).order_by("pk")
    ]


def delete(partner_id: int, user_id: int) -> bool:
    """Delete a partner with its keys; its leads stay, and their history says where they came from."""
    with transaction.atomic():
        partner = Partner.objects.select_for_update().filter(pk=partner_id).first()
        if partner is None:
            return False
        remember_origin(partner, user_id)
        log(partner, DELETION, "Deleted over the API", user_id)
        partner.delete()
    return True


def remember_origin(partner: Partner, user_id: int) -> None:
    """Write into the history of a partner's leads where they came from, before the partner is deleted."""
    leads = ContentType.objects.get_for_model(Partner._meta.get_field("leads").related_model)
    sentence = f"Came from the partner {partner.name}, which was deleted"
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER_ORIGIN, [user_id, leads.pk, CHANGE, sentence, partner.pk])


def log(
    row: Partner | PartnerApiKey, action: int, sentence: str, user_id: int, changes: Iterable[Change] = ()
) -> None:
    message = changed_message(changes, sentence) if (changes := list(changes)) else sentence
    LogEntry.objects.log_actions(user_id, [row], action, message, single_object=True)


class _names_are_unique:
    """Raise NameTaken when PostgreSQL refuses a second partner of the same name."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IntegrityError) and constraint_of(error) == NAME_UNIQUE:
            raise NameTaken from None
