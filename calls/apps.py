from django.apps import AppConfig


class CallsConfig(AppConfig):
    name = "calls"

    def ready(self) -> None:
        from calls.timeline import CALLS
        from leads import timeline

        timeline.register(CALLS)
