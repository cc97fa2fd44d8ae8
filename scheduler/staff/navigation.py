"""How the admin looks and what its side bar offers, by task; the settings of django-unfold.

Read by scheduler/settings.py, so nothing here may import a model. An entry shows to those who hold its permission.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.urls import get_script_prefix, reverse, reverse_lazy

INDEX = "index"
VIEWS: list[str] = []


def entry(title: str, icon: str, view: str, permission: str | None = None) -> dict[str, Any]:
    """Describe one link of the side bar: `view` is an admin URL name, such as `leads_lead_changelist`."""
    link = reverse_lazy(f"admin:{view}")
    item: dict[str, Any] = {"title": title, "icon": icon, "link": link, "active": _is_nearest(view)}
    if permission:
        item["permission"] = _holds(permission)
    VIEWS.append(view)
    return item


def _is_nearest(view: str) -> Callable[[HttpRequest], bool]:
    """Tell whether a page belongs to an entry, and to none whose address is longer: the week is not the list."""

    def is_active(request: HttpRequest) -> bool:
        links = _links(get_script_prefix())
        if INDEX in (view, links.get(request.path)):
            return links.get(request.path) == view
        return links.get(max(filter(request.path.startswith, links), key=len, default="")) == view

    return is_active


@cache
def _links(prefix: str) -> dict[str, str]:
    """Return the views of the side bar by their addresses, which depend on where the site is mounted."""
    return {reverse(f"admin:{view}"): view for view in VIEWS}


def _holds(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)


NAVIGATION: list[dict[str, Any]] = [
    {"items": [entry("Overview", "dashboard", INDEX)]},
    {
        "title": "Call centre",
        "separator": True,
        "items": [
            entry("Leads", "person_search", "leads_lead_changelist", "leads.view_lead"),
            entry("Imports of leads", "upload_file", "leads_leadimport_changelist", "leads.view_leadimport"),
            entry("Calls", "call", "calls_call_changelist", "calls.view_call"),
            entry("Find words", "search", "calls_call_find_words", "calls.view_call"),
            entry("Live calls", "phone_in_talk", "calls_live", "calls.view_call"),
            entry("Turns of calls", "forum", "calls_turn_changelist", "calls.view_turn"),
            entry("Meetings", "event", "meetings_meeting_changelist", "meetings.view_meeting"),
            entry("Week", "calendar_view_week", "meetings_meeting_week", "meetings.view_meeting"),
            entry("Hosts", "badge", "meetings_meetinghost_changelist", "meetings.view_meetinghost"),
        ],
    },
    {
        "title": "Partners",
        "separator": True,
        "items": [
            entry("Partners", "handshake", "partners_partner_changelist", "partners.view_partner"),
            entry("API keys", "key", "partners_partnerapikey_changelist", "partners.view_partnerapikey"),
        ],
    },
    {
        "title": "Imports",
        "separator": True,
        "items": [
            entry("Import runs", "database_upload", "legacy_importrun_changelist", "legacy.view_importrun"),
            entry("Import notes", "rule", "legacy_importrownote_changelist", "legacy.view_importrownote"),
            entry(
                "Imports from a file", "upload_file", "legacy_importjob_changelist", "legacy.view_importjob"
            ),
        ],
    },
    {
        "title": "Administration",
        "separator": True,
        "items": [
            entry("Changes", "history", "admin_logentry_changelist", "admin.view_logentry"),
            entry("Settings", "tune", "scheduler_setting_changelist", "scheduler.view_setting"),
            entry("Users", "group", "auth_user_changelist", "auth.view_user"),
            entry("Groups", "shield_person", "auth_group_changelist", "auth.view_group"),
            entry("Staff tokens", "vpn_key", "scheduler_stafftoken_changelist", "scheduler.view_stafftoken"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AI Scheduler",
    "SITE_HEADER": "AI Scheduler",
    "SITE_SUBHEADER": "Call centre",
    "SITE_SYMBOL": "support_agent",
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "analytics.home.home",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static_address("staff/icon.svg"),
        }
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static_address("staff/staff.css")],
    "SCRIPTS": [lambda request: static_address("staff/staff.js")],
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": NAVIGATION},
}


def static_address(path: str) -> str:
    # Imported late: the storage of static files reads the settings, which read this module.
    from django.templatetags.static import static

    return static(path)
