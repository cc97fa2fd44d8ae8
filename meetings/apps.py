from django.apps import AppConfig


class MeetingsConfig(AppConfig):
    name = "meetings"

    def ready(self) -> None:
        from leads import erasure, timeline
        from meetings import erasing
        from meetings.timeline import MEETINGS

        erasure.register(erasing.forget)
        timeline.register(MEETINGS)
