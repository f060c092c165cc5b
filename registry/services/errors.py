"""What services refuse, where several of them refuse the same."""

from collections.abc import Sequence


class UnknownTools(Exception):
    """Names that are no tools of the server, or none that the connection allows."""

    def __init__(self, names: Sequence[str], field: str) -> None:
        super().__init__(f"The server has no tool called {', '.join(names[:5])}.")
        self.names = list(names)
        self.field = field
