"""The form of what a message lacks, made from the schema of its plan's inputs."""

from typing import Any

from chat.models import Message
from registry.schema_forms import SchemaForm


class LackingForm(SchemaForm):
    """One field for each argument nobody gave."""

    def __init__(self, question: Message, data: Any = None) -> None:
        asked = (question.planning or {}).get("form") or {}
        super().__init__(asked.get("schema", {}), data, prefix=f"lacking-{question.pk}")
