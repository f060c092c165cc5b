"""Passkeys that a stranger made up: allauth hands them to fido2, which takes for granted what a browser sends."""

import struct
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms

MALFORMED = (LookupError, ValueError, TypeError, AttributeError, struct.error)


class Checked:
    """What cannot be read is a wrong credential, not a mistake of ours."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except MALFORMED as error:
            raise get_adapter().validation_error("incorrect_code") from error


class LoginForm(Checked, forms.LoginWebAuthnForm):
    pass


class AuthenticateForm(Checked, forms.AuthenticateWebAuthnForm):
    pass


class ReauthenticateForm(Checked, forms.ReauthenticateWebAuthnForm):
    pass


class AddForm(forms.AddWebAuthnForm):
    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except MALFORMED as error:
            raise get_adapter().validation_error("incorrect_code") from error
