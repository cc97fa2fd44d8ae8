"""From a note to the row it is about."""

from typing import Any

from django.apps import apps
from django.db.models import Model

from legacy.models import ImportRowNote

_MODELS = {
    "partners": "partners.Partner",
    "leads": "leads.Lead",
    "calls": "calls.Call",
    "conversation_history": "calls.Turn",
    "meetings": "meetings.Meeting",
    "settings": "scheduler.Setting",
}


def model_of(table: str) -> Any:
    """Return the model of one of the six tables, None for another name."""
    return apps.get_model(_MODELS[table]) if table in _MODELS else None


def stored_row(note: ImportRowNote) -> Model | None:
    """Return the row that the note is about, None when it is not in the database."""
    model = model_of(note.table_name)
    if model is None or note.row_id is None:
        return None
    return model._default_manager.filter(pk=note.row_id).first()
