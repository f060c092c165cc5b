"""Demo servers and the demo template."""

from django.contrib.auth.models import User


def register(owner: User) -> None:
    """Nothing yet."""
