"""WSGI entry point: `scheduler.wsgi:application`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")

try:
    application = get_wsgi_application()
except ImproperlyConfigured as error:
    # Whoever starts the server can mend it; a traceback would bury the sentence that says how.
    sys.exit(f"{error}")
