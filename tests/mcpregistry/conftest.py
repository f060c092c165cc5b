import pytest


@pytest.fixture(autouse=True)
def _one_transaction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event stream gives its connection back before it begins: where a test is a transaction, that would end it."""
    marker = request.node.get_closest_marker("django_db")
    if marker and not marker.kwargs.get("transaction"):
        monkeypatch.setattr("channels.db.close_old_connections", lambda: None)
