"""ASGI entry point: `scheduler.asgi:application`."""

import os
import sys

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")

try:
    application = get_asgi_application()
except ImproperlyConfigured as error:
    # Whoever starts the server can mend it; a traceback would bury the sentence that says how.
    sys.exit(f"{error}")
