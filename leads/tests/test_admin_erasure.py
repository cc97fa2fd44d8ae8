"""Erasing a person leaves nothing to read, anywhere in the database, and keeps them from being called again."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.test import Client, override_settings
from django.utils import timezone

from calls.models import Call, Turn
from database.embedded_home import wheel_binaries
from leads import corrections, tombstones
from leads.erasure import BeingCalled, erase
from leads.models import Campaign, CampaignLead, ErasedPhone, Lead, LeadImport
from leads.transfers import transfer
from leads.uploads import upload
from legacy.models import ImportRowNote, ImportRun
from meetings.models import Meeting, MeetingHost
from partners.models import Partner
from scheduler.staff import history
from scheduler.tests import staff

NAME = "Zebulon Quatermain"
FORMER = "Zebulon Formerly"
PHONE = "+14155550134"
EMAIL = "zebulon@quatermain.example"
SECRETS = (NAME, FORMER, PHONE, PHONE[2:], "(415) 555-0134", EMAIL, "said-in-confidence")


def whole_database() -> str:
    """Write every row of every table as text."""
    texts = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t")
            texts += [row[0] for row in cursor.fetchall()]
    return "\n".join(texts)


def traces() -> set[str]:
    text = whole_database().lower()
    return {secret for secret in SECRETS if secret.lower() in text}


def known_everywhere() -> Lead:
    """Make a person of whom every table knows something."""
    lead = Lead.objects.create(name=NAME, phone=PHONE, email=EMAIL)
    double = Lead.objects.create(name=FORMER, phone=PHONE, duplicate_of=lead)
    other = Lead.objects.create(name="Somebody Else", phone="+14155550199")
    host = MeetingHost.objects.create(name="Host")
    now = timezone.now()
    for number, row in enumerate((lead, double)):
        call = Call.objects.create(
            lead=row, ended_at=now + timedelta(seconds=9), transcript=f"said-in-confidence {EMAIL}",
            summary=NAME, recording_url=f"https://r.example/{PHONE}/{number}",
        )  # fmt: skip
        Turn.objects.create(call=call, turn=1, role="user", message=f"I am {NAME}, {PHONE}")
        Meeting.objects.create(
            lead=row, call=call, host=host, guest_email=EMAIL, notes=f"{NAME} said-in-confidence",
            scheduled_time=now + timedelta(days=number),
        )  # fmt: skip
    Meeting.objects.create(
        lead=other, host=host, guest_email=EMAIL.upper(), scheduled_time=now + timedelta(days=9)
    )
    CampaignLead.objects.create(campaign=Campaign.objects.create(name="Spring"), lead=lead)
    _noted(lead, double, other)
    return lead


def _noted(lead: Lead, double: Lead, other: Lead) -> None:
    user = User.objects.create_superuser("noter")
    message = history.changed_message([history.Change("Name", FORMER, NAME)])
    moved = history.changed_message([history.Change("Lead", f"{NAME} ({lead.pk})", f"{other} ({other.pk})")])
    call = Call.objects.create(lead=other, ended_at=timezone.now() + timedelta(seconds=5))
    for row, text in ((lead, message), (double, f'["added": "{PHONE}"]'), (call, moved)):
        LogEntry.objects.create(
            user=user, content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk),
            object_repr=str(row), action_flag=CHANGE, change_message=text,
        )  # fmt: skip
    run = ImportRun.objects.create(source_path="old.db", source_bytes=1)
    notes: list[dict[str, Any]] = [
        {"table_name": "leads", "row_id": lead.pk, "kind": "repaired", "column": "name", "original": f" {NAME}"},
        {"table_name": "leads", "row_id": 999, "kind": "rejected",
         "original": {"name": NAME, "phone": "(415) 555-0134"}},
        {"table_name": "calls", "row_id": 998, "kind": "rejected",
         "original": {"lead_id": lead.pk, "transcript": "said-in-confidence"}},
        {"table_name": "meetings", "row_id": 997, "kind": "conflict", "original": {"guest_email": EMAIL}},
        *_rejected_with_parents(lead),
    ]  # fmt: skip
    for note in notes:
        ImportRowNote.objects.create(run=run, reason=f"about {note['table_name']}", **note)
    _of_another_run()
    LeadImport.objects.create(
        file_name="more.csv",
        bytes_total=1,
        state="done",
        errors=[[7, f"Phone {PHONE} already exists"], [8, "Name"]],
    )


def _rejected_with_parents(lead: Lead) -> list[dict[str, Any]]:
    """Describe rows that were rejected because their parents were: nothing in them names the person."""
    secret = {
        "message": "said-in-confidence",
        "transcript": "said-in-confidence",
        "notes": "said-in-confidence",
    }
    rows: list[tuple[str, int, dict[str, Any]]] = [
        ("conversation_history", 996, {"call_id": 998}),
        ("meetings", 995, {"call_id": "998", "lead_id": None}),
        ("calls", 901, {"lead_id": 999}),
        ("conversation_history", 903, {"call_id": 901.0}),
        ("meetings", 902, {"lead_id": " 999", "call_id": None}),
        ("meetings", 904, {"lead_id": None, "call_id": 901}),
        ("leads", 905, {"name": NAME, "phone": "?", "email": EMAIL.upper()}),
        ("calls", 906, {"lead_id": 905}),
        ("conversation_history", 907, {"call_id": 906}),
    ]
    return [
        {"table_name": table, "row_id": number, "kind": "rejected", "original": {**ids, **secret}}
        for table, number, ids in rows
    ]


def _of_another_run() -> None:
    """Note rows of another file, in which the same ids are other people's."""
    run = ImportRun.objects.create(source_path="other.db", source_bytes=1)
    rows = (("calls", 901, {"lead_id": 999}), ("conversation_history", 903, {"call_id": 901}))
    for table, number, original in rows:
        ImportRowNote.objects.create(
            run=run, table_name=table, row_id=number, kind="rejected", original=original, reason="kept"
        )


@pytest.mark.django_db
def test_nothing_of_an_erased_person_is_left_in_any_table() -> None:
    lead = known_everywhere()
    assert traces() == set(SECRETS), "each secret must be there first, or its absence proves nothing"

    erase(lead.pk)

    assert traces() == set()
    assert Lead.objects.get().name == "Somebody Else"
    assert Meeting.objects.count() == Call.objects.count() == 1
    assert ImportRowNote.objects.count() == 15
    assert ImportRowNote.objects.exclude(original=None).filter(reason="kept").count() == 2
    assert LeadImport.objects.get().errors == [[7, "erased"], [8, "Name"]]


@pytest.mark.django_db
def test_what_others_have_stays_as_it_was() -> None:
    other = Lead.objects.create(name="Ann", phone="+14155550150", email="ann@example.com")
    call = Call.objects.create(lead=other, transcript="hello", ended_at=timezone.now() + timedelta(1))
    run = ImportRun.objects.create(source_path="old.db", source_bytes=1)
    ImportRowNote.objects.create(
        run=run,
        table_name="leads",
        row_id=other.pk,
        kind="repaired",
        column="name",
        original="ann",
        reason="case",
    )
    before = (Lead.objects.values().get(), Call.objects.values().get(), ImportRowNote.objects.values().get())

    erase(Lead.objects.create(name=NAME, phone=PHONE).pk)

    assert before == (
        Lead.objects.values().get(),
        Call.objects.values().get(),
        ImportRowNote.objects.values().get(),
    )
    assert call.lead == other


def written_about(row: Any, *changes: tuple[str, str, str]) -> LogEntry:
    user, _ = User.objects.get_or_create(username="writer")
    return LogEntry.objects.create(
        user=user, content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk), object_repr="A row",
        action_flag=CHANGE, change_message=history.changed_message(history.Change(*each) for each in changes),
    )  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "name", "email"),
    [("Unknown", "Ann Example", "ann@example.com"), ("Peter", "Peter Pan", "peter@example.com")],
)
def test_what_names_and_e_mails_resemble_is_not_taken_for_the_person(
    before: str, name: str, email: str
) -> None:
    lead = Lead.objects.create(name=name, phone=PHONE, email=email)
    written_about(lead, ("Name", before, name), ("Email", "-", email), ("Phone", "unknown", PHONE))
    other = Lead.objects.create(name="Peterson", phone="+14155550135")
    run = ImportRun.objects.create(source_path="old.db", source_bytes=1)
    note = ImportRowNote.objects.create(
        run=run, table_name="leads", row_id=999, kind="rejected", reason="unknown status",
        original={"name": before, "phone": "12", "status": "unknown", "email": f"jo.{email}"},
    )  # fmt: skip
    kept = [
        written_about(other, ("Language", "-", "unknown language"), ("Email", "-", f"jo{email}")),
        written_about(other, ("Name", before, "Peterson"), ("Email", "-", f"{email}pany")),
        written_about(other, ("Duplicate of", "-", f"{before} ({lead.pk}1)")),
        written_about(other, ("Phone", "-", f"{PHONE}5"), ("Email", "-", f"the-{email}")),
        written_about(other, ("Email", "-", f"{email}.br")),
    ]
    gone = [
        written_about(other, ("Duplicate of", f"{before} ({lead.pk})", "-")),
        written_about(other, ("Notes", "-", f"call\n{email}, or (415) 555-0134")),
        written_about(other, ("Notes", "-", "0014155550134")),
    ]

    erase(lead.pk)

    note.refresh_from_db()
    assert note.reason == "unknown status" and before in str(note.original)
    messages = {entry.pk: entry.change_message for entry in LogEntry.objects.all()}
    assert [messages[entry.pk] for entry in kept] == [entry.change_message for entry in kept]
    assert {messages[entry.pk] for entry in gone} == {"erased"}


@pytest.mark.django_db
def test_a_name_beyond_ascii_goes_from_what_forms_wrote(admin_client: Client) -> None:
    lead = Lead.objects.create(name=staff.HEBREW, phone=PHONE)
    other = Lead.objects.create(name="Somebody Else", phone="+14155550199", duplicate_of=lead)
    staff.edit(admin_client, other, duplicate_of="")
    assert "u05e9" in LogEntry.objects.get().change_message

    erase(lead.pk)

    assert LogEntry.objects.get().change_message == "erased"


@pytest.mark.django_db
def test_a_lead_that_is_being_called_is_not_erased() -> None:
    lead = Lead.objects.create(name=NAME, phone=PHONE)
    Call.objects.create(lead=lead)

    with pytest.raises(BeingCalled):
        erase(lead.pk)

    assert Lead.objects.get() == lead
    assert not ErasedPhone.objects.exists()


def brought_by_form(client: Client) -> None:
    assert staff.add(client, Lead, name="Back", phone="(415) 555-0134", country_code="US").status_code == 302


def brought_by_upload(client: Client) -> None:
    import io

    upload(io.BytesIO(f"name,phone\nBack,{PHONE}\nNew,+14155550177\n".encode()))


def brought_by_transfer(client: Client) -> None:
    partner = Partner.objects.create(name="Acme")
    assert transfer([{"name": "Back", "phone": PHONE}], partner.pk).created == 1


def brought_by_raw_sql(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO leads (name, phone) VALUES ('Back', %s)", [PHONE])
    tombstones.stop_all_calls()


def brought_by_correction(client: Client) -> None:
    row = Lead.objects.create(name="Back", phone="+14155550160")
    assert staff.edit(client, row, phone=PHONE).status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize(
    "bring",
    [brought_by_form, brought_by_upload, brought_by_transfer, brought_by_raw_sql, brought_by_correction],
)
def test_an_erased_phone_that_comes_back_is_not_called(admin_client: Client, bring: Any) -> None:
    erase(Lead.objects.create(name=NAME, phone=PHONE).pk)
    stranger = Lead.objects.create(name="Stranger", phone="+14155550188")

    bring(admin_client)

    assert Lead.objects.get(phone=PHONE).do_not_call
    assert not Lead.objects.get(pk=stranger.pk).do_not_call
    assert not Lead.objects.filter(phone="+14155550177", do_not_call=True).exists()


@pytest.mark.django_db
def test_a_trace_is_found_after_a_change_of_key_and_written_anew() -> None:
    with override_settings(SECRET_KEY="the old key"):
        erase(Lead.objects.create(name=NAME, phone=PHONE).pk)
        assert tombstones.erased([PHONE]) == {PHONE}
    with override_settings(SECRET_KEY="the key of today"):
        assert tombstones.erased([PHONE]) == set()
    with override_settings(SECRET_KEY="the key of today", SECRET_KEY_FALLBACKS=["the old key"]):
        assert Lead.objects.create(name="Back", phone=PHONE).do_not_call
        transfer([{"name": "Back", "phone": "+14155550111"}], Partner.objects.create(name="Acme").pk)
    with override_settings(SECRET_KEY="the key of today"):
        assert tombstones.erased([PHONE]) == {PHONE}
    assert ErasedPhone.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_transfer_that_waits_for_the_erasure_brings_a_lead_that_is_not_called() -> None:
    partner = Partner.objects.create(name="Acme")
    lead = Lead.objects.create(name=NAME, phone=PHONE)

    def add_again() -> None:
        try:
            Lead.objects.create(name="Back", phone=PHONE)
        finally:
            connections.close_all()

    waiting = Thread(target=add_again)
    with transaction.atomic():
        erase(lead.pk)
        waiting.start()
        wait_for_lock()
    waiting.join(10)

    tombstones.stop_all_calls()  # what the nightly job does
    assert Lead.objects.get(phone=PHONE).do_not_call
    assert transfer([{"name": "Back", "phone": PHONE}], partner.pk).skipped == 1


def wait_for_lock() -> None:
    """Wait until another session waits for a lock of this one."""
    deadline = timezone.now() + timedelta(seconds=20)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while timezone.now() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits")


@pytest.mark.django_db
def test_the_page_asks_first_and_says_what_goes(admin_client: Client) -> None:
    lead = known_everywhere()
    path = f"/admin/leads/lead/{lead.pk}/erase/"

    asked = admin_client.get(path).content.decode()
    assert Lead.objects.filter(pk=lead.pk).exists()
    for sentence in ("2 calls go", "2 turns go", "2 meetings go", "keyed digest"):
        assert sentence in asked, sentence

    assert admin_client.post(path, {"confirmed": "yes"}).status_code == 302
    assert not Lead.objects.filter(pk=lead.pk).exists()
    assert traces() == set()
    assert LogEntry.objects.filter(object_id=str(lead.pk), change_message="Erased the person").count() == 1


@pytest.mark.django_db
def test_only_those_who_may_delete_leads_may_erase() -> None:
    lead = Lead.objects.create(name=NAME, phone=PHONE)
    client = staff.staff_client("leads.view_lead", "leads.change_lead")

    assert client.post(f"/admin/leads/lead/{lead.pk}/erase/", {"confirmed": "yes"}).status_code == 403
    assert Lead.objects.get() == lead


ERASE_PHONE = "/admin/leads/lead/erase-phone/"


def look(client: Client, phone: str, **more: str) -> Any:
    return client.post(ERASE_PHONE, {"phone": phone, "confirmed": "yes", **more})


@pytest.mark.django_db
@pytest.mark.parametrize("over", ["admin", "api"])
def test_who_was_deleted_is_forgotten_by_phone(admin_client: Client, admin_user: Any, over: str) -> None:
    lead = known_everywhere()
    staff.edit(admin_client, lead, name="Zebulon Quatermain II")
    of_call = written_about(lead.calls.first(), ("Summary", "-", "is ill"))
    if over == "api":
        corrections.delete(lead.pk, admin_user.pk)
    else:
        admin_client.post(staff.address(Lead, "delete", lead.pk), {"confirmed": "yes"})
    of_call.refresh_from_db()
    assert (of_call.object_repr, of_call.change_message) == ("erased", "erased")
    assert not Lead.objects.filter(phone=PHONE).exists() and traces() >= {NAME, FORMER, PHONE, EMAIL}
    assert "Erase by phone" in staff.page(admin_client, staff.address(Lead, "changelist"))
    assert "Whose phone" in staff.page(admin_client, ERASE_PHONE)

    asked = look(admin_client, "(415) 555-0134", country="US").content.decode()
    assert f"Erase what is kept of {PHONE} for good?" in asked and traces() >= {NAME, PHONE, EMAIL}
    assert look(admin_client, PHONE, sure=PHONE).status_code == 302

    assert traces() == set()
    assert tombstones.erased([PHONE]) == {PHONE}
    assert Lead.objects.create(name="Back", phone=PHONE).do_not_call
    assert (
        LogEntry.objects.filter(change_message="Erased a person by phone", object_repr="erased").count() == 1
    )


@pytest.mark.django_db
def test_a_phone_that_was_never_a_lead_s_leaves_its_trace(admin_client: Client) -> None:
    run = ImportRun.objects.create(source_path="old.db", source_bytes=1)
    for number, original in enumerate(
        ({"phone": "415-555-0134", "name": NAME}, {"lead_id": 0, "notes": "sick"})
    ):
        table = ("leads", "calls")[number]
        ImportRowNote.objects.create(
            run=run, table_name=table, row_id=number, kind="rejected", original=original
        )

    look(admin_client, PHONE, sure=PHONE)

    assert not ImportRowNote.objects.exclude(original=None).exists()
    assert tombstones.erased([PHONE]) == {PHONE}


@pytest.mark.django_db
def test_a_phone_that_a_lead_has_leads_to_its_page_and_nonsense_is_refused(admin_client: Client) -> None:
    lead = Lead.objects.create(name=NAME, phone=PHONE)

    answer = look(admin_client, "+1 415 555 0134", sure=PHONE)
    assert answer.headers["Location"] == f"/admin/leads/lead/{lead.pk}/erase/"
    for phone in ("415 555 0134", "12", "nobody"):
        assert "No numbering plan has this phone" in look(admin_client, phone, sure=phone).content.decode()
    assert not ErasedPhone.objects.exists() and Lead.objects.get() == lead
    for client in (staff.staff_client("leads.view_lead", "leads.change_lead"), staff.staff_client()):
        assert look(client, "+14155550177", sure="+14155550177").status_code == 403


@pytest.mark.django_db
def test_who_may_not_delete_calls_erases_nobody_who_has_some() -> None:
    lead = Lead.objects.create(name=NAME, phone=PHONE)
    Call.objects.create(lead=lead, ended_at=timezone.now() + timedelta(seconds=5))
    client = staff.staff_client("leads.view_lead", "leads.delete_lead")

    html = client.post(f"/admin/leads/lead/{lead.pk}/erase/", {"confirmed": "yes"}).content.decode()

    assert "You have no right to delete calls." in html
    assert Lead.objects.get() == lead


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_dump_of_the_database_holds_nothing_of_an_erased_person() -> None:
    lead = known_everywhere()
    before = dump()
    assert all(secret.lower() in before for secret in (NAME.lower(), PHONE, EMAIL))

    erase(lead.pk)

    after = dump()
    assert [secret for secret in SECRETS if secret.lower() in after] == []


def dump() -> str:
    values = connection.get_connection_params()
    program = wheel_binaries() / "pg_dump"
    if not program.exists():
        pytest.skip("The embedded server comes without pg_dump.")
    done = subprocess.run(
        [str(program), "--data-only", "-h", values["host"], "-p", str(values.get("port", 5432)), "-U", values["user"],
         values["dbname"]], capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.lower()
