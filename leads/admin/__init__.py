"""The admin pages of leads and of the files that bring them."""

from leads.admin.imports import LeadImportAdmin
from leads.admin.leads import LeadAdmin

__all__ = ["LeadAdmin", "LeadImportAdmin"]
