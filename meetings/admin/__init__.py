from meetings.admin.hosts import MeetingHostAdmin
from meetings.admin.meetings import MeetingAdmin

__all__ = ["MeetingAdmin", "MeetingHostAdmin"]
