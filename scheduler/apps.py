from django.apps import AppConfig
from django.core.checks import register


class SchedulerConfig(AppConfig):
    name = "scheduler"
    verbose_name = "Settings"

    def ready(self) -> None:
        from scheduler.checks import check_database_url_set_twice, check_trusted_proxies

        register(check_database_url_set_twice)
        register(check_trusted_proxies, deploy=True)
