from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Tags, register


class DatabaseConfig(AppConfig):
    name = "database"

    def ready(self) -> None:
        from database import checks
        from database.metric_files import MetricsFolder

        register(checks.check_pool_and_persistent_connections)
        register(checks.check_cursors_behind_pgbouncer)
        register(checks.check_replica_address)
        register(checks.check_replica_is_another_server, Tags.database)
        register(checks.check_extensions, Tags.database)
        register(checks.check_max_connections, Tags.database, deploy=True)
        MetricsFolder(settings.METRICS_DIR).sweep_if_crowded()
