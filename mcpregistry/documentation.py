"""What the API's document says beyond what REST framework's views say of themselves."""

from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme


class ScopedTokenScheme(KnoxTokenScheme):
    """As any token of knox: its scope is no part of how it is sent."""

    target_class = "mcpregistry.tokens.ScopedTokenAuthentication"


def once(endpoints: list[Any]) -> list[Any]:
    """Without the second addresses, below a page's, at which the public registry answers too."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith("/servers")]
