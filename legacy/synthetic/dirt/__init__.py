"""Every kind of dirt found in real legacy files, by name; each leaves alone what another kind spoiled."""

from collections.abc import Callable
from random import Random
from sqlite3 import Connection

from legacy.synthetic.dirt import links, strays, texts, times, values

# Kinds that need rows of a certain sort come first: small files run out of untouched meetings.
_KINDS: tuple[Callable[[Connection, Random], None], ...] = (
    links.turns_without_call,
    links.calls_without_lead,
    links.meetings_without_lead,
    links.meetings_of_missing_call,
    links.leads_of_missing_partner,
    links.several_active_calls,
    links.leads_stuck_in_calling,
    links.overlapping_meetings,
    links.duplicate_call_sids,
    links.duplicate_event_ids,
    links.duplicate_setting_keys,
    values.lower_case_enums,
    values.old_outcomes,
    values.unknown_outcomes,
    values.unknown_lead_statuses,
    values.unknown_meeting_statuses,
    values.unknown_roles,
    values.numbers_as_text,
    values.numbers_in_text_columns,
    values.infinite_numbers,
    values.negative_durations,
    values.text_booleans,
    values.null_booleans,
    values.junk_booleans,
    values.duplicate_partner_names,
    values.empty_partner_names,
    values.useless_rate_limits,
    values.empty_api_keys,
    texts.nul_bytes,
    texts.lone_surrogates,
    texts.invalid_utf8,
    texts.very_long_text,
    texts.phones_in_any_spelling,
    texts.leads_sharing_a_number,
    texts.junk_phones,
    texts.empty_phones,
    times.times_with_t,
    times.times_with_z,
    times.times_with_utc_offset,
    times.times_with_other_offset,
    times.dates_alone,
    times.epoch_seconds,
    times.epoch_milliseconds,
    times.unreadable_times,
    times.times_out_of_range,
    times.null_times,
    times.ended_before_started,
    strays.extra_tables,
    strays.extra_columns,
    strays.calls_only_in_backup,
    strays.calls_also_in_backup,
    strays.backup_ids_used_again,
    strays.orphaned_backup_calls,
)
DIRT = {kind.__name__: kind for kind in _KINDS}


def spoil(connection: Connection, rng: Random) -> None:
    """Apply every kind to a file in the relaxed form; kinds whose table or column is missing do nothing."""
    for kind in DIRT.values():
        kind(connection, rng)
