"""What orjson writes is what REST framework would have written."""

import json
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils.translation import gettext_lazy
from rest_framework.renderers import JSONRenderer

from mcpregistry.renderers import QuickJSONRenderer
from registry.models import Server

VALUES: list[Any] = [
    {"results": [{"name": "größer", "score": 0.25, "none": None}], "next": "", "ok": True},
    {"at": datetime(2026, 5, 4, 3, 2, 1, 654_321, tzinfo=UTC), "on": date(2026, 5, 4), "id": uuid.UUID(int=7)},
    {"kind": Server.Transport.SSE, "said": gettext_lazy("Yes"), "price": Decimal("1.50"), "pairs": (1, 2)},
    {"large": 2**70, "small": -(2**63)},
    {1: "a key that is a number"},
    {"raw": b"bytes"},
    "text",
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_it_says_the_same(value: Any) -> None:
    quick, usual = QuickJSONRenderer().render(value), JSONRenderer().render(value)
    assert (json.loads(quick) if quick else None) == (json.loads(usual) if usual else None)


def test_it_is_indented_for_who_asks_for_it() -> None:
    assert QuickJSONRenderer().render({"a": 1}, "application/json; indent=2") == b'{\n  "a": 1\n}'


def test_what_no_json_can_say_is_an_error() -> None:
    with pytest.raises(TypeError):
        QuickJSONRenderer().render({"a": object()})
