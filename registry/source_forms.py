"""How a catalogue is read by itself, as staff set it."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from registry.importers.fields import web_address
from registry.models import CatalogueSource
from registry.outbound import OutboundRefused, check_url

KEYED = ("smithery",)
INTERVALS = [(1, "every hour"), (6, "every 6 hours"), (24, "every day"), (168, "every week")]


class SourceForm(forms.Form):
    """`told` is what `save_source` takes. A key is written here and shown nowhere."""

    is_enabled = forms.BooleanField(required=False, label="Read it by itself")
    every_hours = forms.TypedChoiceField(coerce=int, label="How often")
    url = forms.CharField(
        required=False,
        label="Another address",
        widget=forms.TextInput(attrs={"inputmode": "url", "class": "code", "spellcheck": "false"}),
        help_text="Instead of the usual one: a mirror, or a registry of your own of the same kind.",
    )

    def __init__(self, source: CatalogueSource, data: Any = None) -> None:
        initial = {"is_enabled": source.is_enabled, "every_hours": source.every_hours, "url": source.url}
        super().__init__(data, initial=initial, auto_id=f"id_{source.name}_%s")
        self.source = source
        choice = self.fields["every_hours"]
        assert isinstance(choice, forms.TypedChoiceField)
        known = dict(INTERVALS)
        choice.choices = [*INTERVALS] if source.every_hours in known else [*INTERVALS, self._unusual(source)]
        if source.name in KEYED:
            self._ask_for_key(bool(source.api_key_encrypted))

    @staticmethod
    def _unusual(source: CatalogueSource) -> tuple[int, str]:
        return source.every_hours, f"every {source.every_hours} hours"

    def _ask_for_key(self, is_set: bool) -> None:
        self.fields["api_key"] = forms.CharField(
            required=False,
            label="API key",
            widget=forms.PasswordInput(attrs={"autocomplete": "off", "placeholder": "set" if is_set else "none"}),
            help_text="Stored encrypted, shown to nobody. Left empty, the one that is set stays.",
        )
        if is_set:
            self.fields["forget_key"] = forms.BooleanField(required=False, label="Forget the key")

    def clean_url(self) -> str:
        url = self.cleaned_data["url"].strip()
        if url and not web_address(url):
            raise ValidationError("Write an address that begins with https:// or http://, without a password in it.")
        if url:
            try:
                check_url(url)
            except OutboundRefused as refused:
                raise ValidationError(str(refused)) from refused
        return url

    @property
    def told(self) -> dict[str, Any]:
        return {"api_key": "", "forget_key": False, **self.cleaned_data}
