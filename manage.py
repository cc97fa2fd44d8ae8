#!/usr/bin/env python
"""Run an administrative command."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from database.embedded_home import EmbeddedServerError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, EmbeddedServerError) as error:
        # The person at the terminal can mend these; a traceback would bury the sentence that says how.
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
