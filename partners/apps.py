from django.apps import AppConfig


class PartnersConfig(AppConfig):
    name = "partners"

    def ready(self) -> None:
        from partners.access import partner_of
        from scheduler.rest.access import other_callers

        if partner_of not in other_callers:
            other_callers.append(partner_of)
