"""Forms of templates and runs. The inputs of a plan are a form made from their JSON schema."""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from chains.models import Schedule, Template
from chains.schedules import moment_by
from registry.schema_forms import JsonField, SchemaForm

MAX_FILE_BYTES = 500_000


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Template
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    every = forms.IntegerField(min_value=1, max_value=365, initial=1, required=False, label="Every")
    at = forms.TimeField(
        required=False,
        initial=dt.time(7, 0),
        label="At (UTC)",
        help_text="With hours only the minutes count.",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )

    class Meta:
        model = Schedule
        fields = ["every", "unit", "at", "cron"]
        labels = {"unit": "Hours, days, or a cron expression", "cron": "Cron expression (UTC)"}
        help_texts = {"cron": "minute hour day month weekday: 30 7 * * mon-fri is every weekday at half past seven."}
        widgets = {
            "cron": forms.TextInput(attrs={"class": "code", "spellcheck": "false", "placeholder": "30 7 * * mon-fri"})
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("unit") == Schedule.Unit.CRON:
            self._clean_cron(cleaned)
        else:
            for name in ("every", "at"):
                if cleaned.get(name) is None and name not in self.errors:
                    self.add_error(name, "This field is required.")
        return cleaned | {"every": cleaned.get("every") or 1, "at": cleaned.get("at") or dt.time(0)}

    def _clean_cron(self, cleaned: dict[str, Any]) -> None:
        try:
            moment_by(cleaned.get("cron", ""), timezone.now())
        except ValueError as error:
            self.add_error("cron", str(error))


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
