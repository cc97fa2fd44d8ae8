"""What meetings of other leads know of an erased person; the person's own meetings go with the lead."""

from leads.erasure import Person
from meetings.models import Meeting


def forget(person: Person) -> None:
    """Take the person off the guests of meetings that were booked for somebody else."""
    for email in person.emails:
        Meeting.objects.filter(guest_email__iexact=email).update(guest_email=None)
