from django.apps import AppConfig


class PartnersConfig(AppConfig):
    name = "partners"

    def ready(self) -> None:
        from partners.access import is_partner
        from scheduler.rest.access import other_callers

        if is_partner not in other_callers:
            other_callers.append(is_partner)
