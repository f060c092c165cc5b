"""What the API answers, written by orjson: a page of servers in a tenth of the time."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

OTHERS = JSONEncoder().default  # times as REST framework writes them, lazy texts and what else it knows


class QuickJSONRenderer(JSONRenderer):
    """The same JSON as REST framework's own, which still writes what orjson does not: indented, or with whole numbers
    of more than 64 bits."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is not None and not self.get_indent(accepted_media_type or self.media_type, renderer_context or {}):
            try:
                return orjson.dumps(data, default=OTHERS, option=orjson.OPT_PASSTHROUGH_DATETIME)
            except orjson.JSONEncodeError:
                pass
        rendered: bytes = super().render(data, accepted_media_type, renderer_context)
        return rendered
