"""Accounts of the product: who may sign up, the one-time sign-in link, the account page."""

import logging
from ipaddress import ip_address
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.internal.flows.logout import logout
from allauth.account.models import Login
from allauth.mfa.utils import is_mfa_enabled
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from knox.models import AuthToken

from mcpregistry.audit import write
from mcpregistry.limits import address_of
from mcpregistry.models import TokenGrant
from mcpregistry.second_factor import FACTORS
from mcpregistry.tokens import KEY, make_token

NO_ADDRESS = "::"
logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP_OPEN

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that limits and the audit log go by, too, where it is one: a proxy may name anything."""
        try:
            return str(ip_address(address_of(request)))
        except ValueError:
            return NO_ADDRESS

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """The page says the same whether there was somebody to write to or not, so a failure is for the log."""
        if not settings.EMAIL_HOST:
            settings.EMAIL_FILE_PATH.mkdir(mode=0o700, exist_ok=True)  # letters open accounts
        try:
            super().send_mail(template_prefix, email, context)
        except (SMTPException, OSError):
            logger.exception("A letter (%s) could not be sent. Check the EMAIL_ settings.", template_prefix)


def mail(request: HttpRequest) -> dict[str, Any]:
    """For every page: is there a mail server?"""
    return {"mail_is_set": bool(settings.EMAIL_HOST)}


class SignInTokens(PasswordResetTokenGenerator):
    """Tokens that die with their first use: they are bound to the user's last sign-in."""

    key_salt = "mcpregistry.accounts.SignInTokens"

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        """With the last sign-in to the microsecond: Django's own tokens take two of one second for the same."""
        return f"{super()._make_hash_value(user, timestamp)}{user.last_login}"


sign_in_tokens = SignInTokens()


def sign_in_path(user: User) -> str:
    """The path of a link that signs this user in once, for PASSWORD_RESET_TIMEOUT seconds."""
    uid = urlsafe_base64_encode(str(user.pk).encode())
    return reverse("sign_in", args=[uid, sign_in_tokens.make_token(user)])


def user_of_link(uid: str, token: str) -> User | None:
    try:
        user = get_user_model().objects.filter(pk=int(urlsafe_base64_decode(uid)), is_active=True).first()
    except ValueError:
        return None
    return user if sign_in_tokens.check_token(user, token) else None


def sign_in(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """The link stands for the password. Whoever has a second factor is asked for it all the same."""
    user = user_of_link(uid, token)
    if user is not None:
        logout(request, show_message=False)
        record_authentication(request, user, "link", reauthenticated=True)
        return perform_login(request, Login(user=user, redirect_url=reverse("workspace")))
    if request.user.is_authenticated:
        return redirect("workspace")
    messages.error(request, "This sign-in link was used before or has expired. Sign in with your password.")
    return redirect("account_login")


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, required=False, help_text="What it is for, so that you know it again.")
    scope = forms.ChoiceField(
        choices=TokenGrant.Scope.choices, required=False, label="May", initial=TokenGrant.Scope.ADMIN
    )
    days = forms.TypedChoiceField(
        choices=[("", "never"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year")],
        coerce=int,
        empty_value=None,
        required=False,
        label="Ends",
    )

    def clean_scope(self) -> str:
        return self.cleaned_data["scope"] or TokenGrant.Scope.ADMIN

    def clean_name(self) -> str:
        return self.cleaned_data["name"] or "unnamed"


@login_required
def account(request: HttpRequest) -> HttpResponse:
    """The user's API tokens: make one (shown once), revoke one."""
    new_token = ""
    is_asked = request.method == "POST"
    if is_asked and (revoked := request.POST.get("revoke", "").replace("\x00", "")):
        AuthToken.objects.filter(user=request.user, token_key=revoked).delete()
        write(request, user=request.user, action="token_revoked", object=revoked)
        messages.success(request, "Token revoked. Whatever still uses it is refused from now on.")
        return redirect("account")
    form = TokenForm(request.POST if is_asked else None)
    if is_asked and form.is_valid():
        assert isinstance(request.user, User)  # who is not signed in does not come here
        new_token = make_token(user=request.user, **form.cleaned_data)
        told = {"object": form.cleaned_data["name"], "made": f"{new_token[:KEY]} {form.cleaned_data['scope']}"}
        write(request, user=request.user, action="token_made", **told)
        form = TokenForm()
    shown = {"new_token": new_token, "form": form, "now": timezone.now(), **shown_of(request)}
    return render(request, "account/account.html", shown)


def shown_of(request: HttpRequest) -> dict[str, Any]:
    return {
        "tokens": AuthToken.objects.filter(user=request.user).select_related("grant").order_by("-created"),
        "has_second_factor": is_mfa_enabled(request.user, FACTORS),
    }
