"""The database for asyncio voice workers: `DatabaseService`."""

from database.service.configuration import Configuration, Limits
from database.service.service import DatabaseService, Health, PoolStats
from database.service.session import Session, Statements

__all__ = ["Configuration", "DatabaseService", "Health", "Limits", "PoolStats", "Session", "Statements"]
