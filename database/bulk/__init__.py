"""Bulk operations over COPY, on Django's own connection and inside the caller's transaction."""

from database.bulk.insert import bulk_insert
from database.bulk.many import execute_many
from database.bulk.update import Updated, bulk_update
from database.bulk.upsert import Upserted, bulk_upsert

__all__ = ["Updated", "Upserted", "bulk_insert", "bulk_update", "bulk_upsert", "execute_many"]
