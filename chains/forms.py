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
    """Its unit says which of the other fields count; a browser must not insist on those it does not show."""

    use_required_attribute = False
    every = forms.IntegerField(min_value=1, max_value=365, initial=1, label="Every")
    at = forms.TimeField(
        initial=dt.time(7, 0),
        label="At (UTC)",
        help_text="With hours only the minutes count.",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    cron = forms.CharField(
        max_length=100,
        label="Cron expression (UTC)",
        help_text="minute hour day month weekday: 30 7 * * mon-fri is every weekday at half past seven.",
        widget=forms.TextInput(attrs={"class": "code", "spellcheck": "false", "placeholder": "30 7 * * mon-fri"}),
    )

    class Meta:
        model = Schedule
        fields = ["every", "unit", "at", "cron"]
        labels = {"unit": "Hours, days, or a cron expression"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_bound:
            by_cron = self.data.get("unit") == Schedule.Unit.CRON
            for name in ("every", "at"):
                self.fields[name].required = not by_cron
            self.fields["cron"].required = by_cron

    def clean_cron(self) -> str:
        cron: str = self.cleaned_data["cron"]
        if self.fields["cron"].required:
            try:
                moment_by(cron, timezone.now())
            except ValueError as error:
                raise ValidationError(str(error)) from error
        return cron

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        return cleaned | {"every": cleaned.get("every") or 1, "at": cleaned.get("at") or dt.time(0)}


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
