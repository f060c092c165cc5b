#!/usr/bin/env python
"""Django's command line. Where no database is named and none runs, it starts the embedded one for the command."""

import os
import sys

from django.core.management import execute_from_command_line

from mcpregistry import embedded, settings

WITHOUT_SERVICES = {"up", "help", "version", "--help", "-h", "--version"}


def needs_services(arguments: list[str]) -> bool:
    return bool(arguments) and not WITHOUT_SERVICES.intersection(arguments)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
    own_postgres, own_redis = not os.environ.get("DATABASE_URL"), not os.environ.get("REDIS_URL")
    if not needs_services(sys.argv[1:]) or not (own_postgres or own_redis):
        execute_from_command_line(sys.argv)
        return
    try:
        with embedded.services(settings.DATA_DIR, postgres=own_postgres, redis=own_redis):
            execute_from_command_line(sys.argv)
    except embedded.EmbeddedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
