"""A client of an authorisation server, as staff enter it in the admin."""

from typing import Any

from django import forms

from registry.credentials import encrypt
from registry.models import OAuthClient


class GivenClientForm(forms.ModelForm):
    """The secret is written here and shown nowhere."""

    client_id = forms.CharField(max_length=4_000)
    secret = forms.CharField(
        required=False,
        max_length=4_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Stored encrypted, shown to nobody. Left empty, the one that is set stays.",
    )

    class Meta:
        model = OAuthClient
        fields = ["server", "issuer", "client_id", "method", "secret"]
        widgets = {"issuer": forms.TextInput(attrs={"class": "vTextField"})}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        needs_secret = cleaned.get("method") != OAuthClient.Method.NONE and not self.instance.secret_encrypted
        if needs_secret and not cleaned.get("secret"):
            self.add_error("secret", "This way of proving who we are needs a secret.")
        return cleaned

    def save(self, commit: bool = True) -> OAuthClient:
        if secret := self.cleaned_data["secret"]:
            self.instance.secret_encrypted = encrypt({"secret": secret})
        if self.cleaned_data["method"] == OAuthClient.Method.NONE:
            self.instance.secret_encrypted = b""
        return super().save(commit)
