from calls.admin.calls import CallAdmin
from calls.admin.turns import TurnAdmin

__all__ = ["CallAdmin", "TurnAdmin"]
