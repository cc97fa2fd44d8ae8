"""Pages of the admin that belong to no model: its home page and the calls of this moment."""

from django.contrib import admin

from analytics import live

admin.site.index_template = "analytics/home.html"
# unfold puts what this returns before the addresses of the models.
admin.site.extra_urls = live.urls  # type: ignore[attr-defined]
