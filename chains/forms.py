"""Forms of templates and runs. The inputs of a plan are a form made from their JSON schema."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from chains.models import Schedule, Template
from registry.schema_forms import JsonField, SchemaForm

MAX_FILE_BYTES = 500_000


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Template
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    every = forms.IntegerField(min_value=1, max_value=365, initial=1, label="Every")

    class Meta:
        model = Schedule
        fields = ["every", "unit", "at"]
        labels = {"unit": "Hours or days", "at": "At (UTC)"}
        help_texts = {"at": "With hours only the minutes count."}
        widgets = {"at": forms.TimeInput(attrs={"type": "time"}, format="%H:%M")}


class ImportForm(forms.Form):
    """A template's file, or its text: `content` is the JSON in it."""

    file = forms.FileField(required=False, label="File", widget=forms.FileInput(attrs={"accept": ".json"}))
    text = JsonField(required=False, label="Or its text")

    def clean_file(self) -> Any:
        uploaded = self.cleaned_data["file"]
        if uploaded is None:
            return None
        if uploaded.size > MAX_FILE_BYTES:
            raise ValidationError(f"A template's file holds at most {MAX_FILE_BYTES // 1000} kB.")
        try:
            text = uploaded.read().decode()
        except UnicodeDecodeError as error:
            raise ValidationError("This is not a JSON file.") from error
        return JsonField().clean(text)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        content = cleaned.get("file") or cleaned.get("text")
        if not self.errors and not isinstance(content, dict):
            raise ValidationError("Choose a template's file, or paste its text.")
        return cleaned | {"content": content}


class InputsForm(SchemaForm):
    """One field for each property of a plan's `inputs` schema."""

    def __init__(self, schema: Any, data: Any = None, initial: dict[str, Any] | None = None) -> None:
        super().__init__(schema, data, prefix="input", initial=initial)
