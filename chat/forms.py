"""The form of what a message lacks, made from the schema of its plan's inputs."""

from typing import Any

from django import forms

from chat.models import Conversation, Message
from registry.schema_forms import SchemaForm


class ConversationForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is not in the request stays as it is; `pinned` is "yes" or "no"."""

    pinned = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")], required=False)

    class Meta:
        model = Conversation
        fields = ["title"]

    def clean_title(self) -> str:
        return str(self.cleaned_data["title"]).strip() or self.instance.title

    def save(self, commit: bool = True) -> Conversation:
        if self.cleaned_data["pinned"]:
            self.instance.pinned = self.cleaned_data["pinned"] == "yes"
        self.instance.save(update_fields=["title", "pinned"])
        return self.instance


class LackingForm(SchemaForm):
    """One field for each argument nobody gave."""

    def __init__(self, question: Message, data: Any = None) -> None:
        asked = (question.planning or {}).get("form") or {}
        super().__init__(asked.get("schema", {}), data, prefix=f"lacking-{question.pk}")
