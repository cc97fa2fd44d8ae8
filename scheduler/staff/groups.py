"""Groups of staff and what each may do; made by migrations, changed by administrators afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps as present

AGENT = "Agent"
SUPERVISOR = "Supervisor"
PARTNER_MANAGER = "Partner manager"
ADMINISTRATOR = "Administrator"

Rights = Mapping[str, Iterable[str]]

_AGENT = (
    "leads.view_lead",
    "leads.add_lead",
    "leads.change_lead",
    "calls.view_call",
    "calls.view_turn",
    "meetings.view_meeting",
    "meetings.add_meeting",
    "meetings.change_meeting",
    "meetings.view_meetinghost",
    "meetings.view_meetinghostexception",
    "partners.view_partner",
)
_SUPERVISOR = (
    *_AGENT,
    "calls.add_call",
    "calls.change_call",
    "meetings.add_meetinghost",
    "meetings.change_meetinghost",
    "meetings.add_meetinghostexception",
    "meetings.change_meetinghostexception",
    "meetings.delete_meetinghostexception",
    "scheduler.view_setting",
    "legacy.view_importrun",
    "legacy.view_importrownote",
)
_PARTNER_MANAGER = (
    "partners.view_partner",
    "partners.add_partner",
    "partners.change_partner",
    "partners.view_partnerapikey",
    "partners.change_partnerapikey",
    "leads.view_lead",
)
_EVERYTHING_OF = {
    "leads": ("lead",),
    "calls": ("call", "turn"),
    "meetings": ("meeting", "meetinghost", "meetinghostexception"),
    "partners": ("partner", "partnerapikey"),
    "scheduler": ("setting",),
    "legacy": ("importrun", "importrownote"),
    "auth": ("user",),
}
_ADMINISTRATOR = (
    *(
        f"{app}.{verb}_{model}"
        for app, models in _EVERYTHING_OF.items()
        for model in models
        for verb in ("view", "add", "change", "delete")
    ),
    "auth.view_group",
    "scheduler.view_stafftoken",
    "scheduler.change_stafftoken",
)

RIGHTS: Rights = {
    AGENT: _AGENT,
    SUPERVISOR: _SUPERVISOR,
    PARTNER_MANAGER: _PARTNER_MANAGER,
    ADMINISTRATOR: _ADMINISTRATOR,
}


def grant(apps: Any, rights: Rights) -> None:
    """Give groups their permissions, in a migration; groups and permissions that are missing are made.

    Django makes permissions after the last migration of a run, which is too late on an empty database. `rights` maps
    a group to permissions written as `leads.view_lead`. Rights that a group has besides are left alone.
    """
    Group = apps.get_model("auth", "Group")
    for name, permissions in rights.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*(_permission(apps, each) for each in permissions))


def _permission(apps: Any, name: str) -> Any:
    app, codename = name.split(".")
    _, model = codename.split("_", 1)
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app, model=model)
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": _spoken(app, codename)}
    )
    return permission


def _spoken(app: str, codename: str) -> str:
    """Name a permission as Django would; by the codename of its model once the model is gone."""
    verb, model = codename.split("_", 1)
    try:
        meta = present.get_model(app, model)._meta
    except LookupError:
        return f"Can {verb} {model}"
    return str(dict(meta.permissions).get(codename, f"Can {verb} {meta.verbose_name_raw}"))
