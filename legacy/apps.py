from django.apps import AppConfig


class LegacyConfig(AppConfig):
    name = "legacy"
    verbose_name = "Imports from SQLite"

    def ready(self) -> None:
        from leads import erasure, timeline
        from legacy import erasing
        from legacy.timeline import NOTES

        erasure.register(erasing.forget)
        timeline.register(NOTES)
