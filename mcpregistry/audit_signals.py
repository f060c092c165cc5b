"""What the audit log tells of signing in: it happens before there is a user, or behind an address that says little.

The object is the name of the page, never its path: a path may hold the key of a link.
"""

from http import HTTPStatus
from typing import Any

from allauth.account import signals as account
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from mcpregistry.audit import action_of, write


@receiver(account.user_logged_in)
def signed_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    methods = [str(one.get("type") or one.get("method")) for one in get_authentication_records(request, user)]
    write(request, user=user, action="sign_in", object=action_of(request), made=" ".join(methods))


@receiver(user_logged_out)
def signed_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        write(request, user=user, action="sign_out", object=action_of(request))


@receiver(user_login_failed)
def password_refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kw: Any) -> None:
    """A name is told only where there is such an account: people type passwords into the wrong field."""
    if request is not None:
        named = get_user_model().objects.filter(username=str(credentials.get("username", ""))).first()
        write(request, user=named, action="sign_in_failed", object=action_of(request), status=HTTPStatus.UNAUTHORIZED)


@receiver(mfa.authentication_failed)
def code_refused(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    told = {"made": authenticator.type, "status": HTTPStatus.UNAUTHORIZED}
    write(request, user=user, action="second_factor_failed", object=action_of(request), **told)


@receiver(mfa.authenticator_added)
def factor_added(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    write(request, user=user, action="second_factor_added", object=action_of(request), made=_named(authenticator))


@receiver(mfa.authenticator_removed)
def factor_removed(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    write(request, user=user, action="second_factor_removed", object=action_of(request), made=_named(authenticator))


@receiver(mfa.authenticator_reset)
def factor_reset(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    write(request, user=user, action="recovery_codes_made", object=action_of(request))


@receiver([account.password_changed, account.password_set])
def password_changed(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    write(request, user=user, action="password_changed", object=action_of(request))


@receiver(account.password_reset)
def password_reset(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    write(request, user=user, action="password_reset", object=action_of(request))


@receiver(account.user_signed_up)
def signed_up(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    write(request, user=user, action="sign_up", object=action_of(request))


@receiver(account.email_added)
def email_added(sender: Any, request: HttpRequest, user: User, email_address: EmailAddress, **kwargs: Any) -> None:
    write(request, user=user, action="email_added", object=action_of(request), made=email_address.email)


def _named(authenticator: Authenticator) -> str:
    is_key = authenticator.type == Authenticator.Type.WEBAUTHN
    return f"{authenticator.type} {authenticator.wrap().name}" if is_key else str(authenticator.type)
