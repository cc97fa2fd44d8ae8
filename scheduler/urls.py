from django.contrib import admin
from django.urls import path

from scheduler.api import api, nowhere, root

# The addresses of probes (/health, /metrics) are in scheduler/probes.py: they are answered before URLs are looked up.
urlpatterns = [
    path("", root, name="home"),
    path("api/", api.urls),
    path("admin/", admin.site.urls),
]

handler404 = nowhere
