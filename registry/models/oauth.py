"""Signing in to servers by OAuth: where, as which client, who is away doing it, and what came of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from registry.models.servers import Connection, Server

SIGN_IN_TAKES = timedelta(minutes=15)
REFRESH_LEASE = timedelta(seconds=40)  # longer than asking for tokens may take
REFRESHED_JUST_NOW = timedelta(seconds=60)


def sign_in_ends() -> datetime:
    return timezone.now() + SIGN_IN_TAKES


class ServerProtection(models.Model):
    """Where one signs in to a server, as it said when it was last asked at this address."""

    server = models.OneToOneField(Server, on_delete=models.CASCADE, related_name="protection")
    url = models.TextField()
    issuer = models.TextField(blank=True, help_text="the authorisation server")
    scopes = ArrayField(models.CharField(max_length=255), default=list, blank=True, help_text="what is asked for")
    problem = models.TextField(blank=True, help_text="why nobody can sign in there")
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "server_protections"

    def __str__(self) -> str:
        return f"{self.server_id} by {self.issuer or 'nobody'}"


class OAuthClientQuerySet(models.QuerySet["OAuthClient"]):
    def known_to(
        self, issuer: str, server: Server, redirect_uri: str, scopes: Sequence[str] = ()
    ) -> "OAuthClientQuerySet":
        """Those to sign in as, for these scopes. What was registered counts once it worked: a server may have
        forgotten the others."""
        worked = models.Exists(OAuthGrant.objects.filter(client=models.OuterRef("pk")))
        registered = Q(worked, kind=OAuthClient.Kind.REGISTERED, redirect_uri=redirect_uri)
        proven = Q(kind=OAuthClient.Kind.GIVEN) | (registered & Q(scopes__contains=list(scopes)))
        alive = Q(expires_at=0) | Q(expires_at__gt=timezone.now().timestamp())
        return self.filter(proven, alive, server=server, issuer=issuer).order_by("kind", "-created_at")

    def abandoned(self) -> "OAuthClientQuerySet":
        """Registered for a sign-in that came to nothing, or for a server that is gone."""
        used = models.Exists(OAuthGrant.objects.filter(client=models.OuterRef("pk")))
        away = models.Exists(SignIn.objects.filter(client=models.OuterRef("pk")))
        return self.filter(~used, ~away).exclude(Q(kind=OAuthClient.Kind.GIVEN) & Q(server__isnull=False))


class OAuthClient(models.Model):
    """As whom an authorisation server knows us, for one server alone: a client that several servers shared would let
    one of them have tokens that a person allowed another."""

    class Kind(models.TextChoices):
        GIVEN = "given", "Given by staff"
        DOCUMENT = "document", "Our own document"
        REGISTERED = "registered", "Registered there"

    class Method(models.TextChoices):
        BASIC = "client_secret_basic", "secret in a header"
        POST = "client_secret_post", "secret in the form"
        NONE = "none", "no secret"

    server = models.ForeignKey(Server, null=True, on_delete=models.SET_NULL, related_name="+")
    issuer = models.TextField(help_text="the authorisation server, exactly as it names itself")
    redirect_uri = models.TextField(blank=True, help_text="empty: any of ours")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.GIVEN)
    client_id = models.TextField()
    method = models.CharField(max_length=32, choices=Method, default=Method.BASIC)
    scopes = ArrayField(
        models.CharField(max_length=255), default=list, blank=True, help_text="it was registered for these"
    )
    secret_encrypted = models.BinaryField(default=b"", editable=False)
    expires_at = models.BigIntegerField(default=0, help_text="of the secret, in seconds since 1970; 0: never")
    created_at = models.DateTimeField(default=timezone.now)

    objects = OAuthClientQuerySet.as_manager()

    class Meta:
        db_table = "oauth_clients"
        verbose_name = "OAuth client"
        constraints = [
            models.UniqueConstraint(
                fields=["server", "issuer"], condition=Q(kind="given"), name="one_given_client_per_server_and_issuer"
            )
        ]

    def __str__(self) -> str:
        return f"{self.client_id[:80]} at {self.issuer}"


class SignIn(models.Model):
    """One person on the way to an authorisation server and back. What it brings back counts once."""

    class Status(models.TextChoices):
        PREPARING = "preparing"
        AWAY = "away"
        RETURNED = "returned"
        TRADING = "trading"
        DONE = "done"
        FAILED = "failed"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=16, choices=Status, default=Status.PREPARING)
    session_hash = models.CharField(max_length=64, blank=True, help_text="of the browser; empty: asked for by the API")
    state_hash = models.CharField(max_length=64, unique=True)
    redirect_uri = models.TextField()
    metadata_url = models.TextField(blank=True, help_text="of our own document, where the server can reach it")
    url = models.TextField(help_text="of the server when it began")
    client = models.ForeignKey(OAuthClient, null=True, on_delete=models.CASCADE, related_name="+")
    metadata: Any = models.JSONField(default=dict, help_text="of the authorisation server")
    resource = models.TextField(blank=True)
    scopes = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    secrets_encrypted = models.BinaryField(default=b"", editable=False, help_text="state, address, verifier, code")
    code = models.CharField(max_length=32, blank=True, help_text="why it failed")
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(default=sign_in_ends, db_index=True)

    class Meta:
        db_table = "oauth_sign_ins"

    def __str__(self) -> str:
        return f"{self.user_id} → {self.server_id} {self.status}"

    @property
    def issuer(self) -> str:
        return str(self.metadata.get("issuer", ""))


class OAuthGrantQuerySet(models.QuerySet["OAuthGrant"]):
    def current(self) -> "OAuthGrantQuerySet":
        """Whose user and server are still there and did not part."""
        return self.filter(ended_at=None, user__isnull=False, server__isnull=False)

    def ended(self) -> "OAuthGrantQuerySet":
        return self.filter(Q(user=None) | Q(server=None) | ~Q(ended_at=None))

    def usable(self) -> "OAuthGrantQuerySet":
        """Current, for the address its server has now, from where that says one signs in now: a server that moved, or
        changed its authorisation server, gets no token that was meant for the former."""
        same = Q(server__url=models.F("url"), server__protection__issuer=models.F("issuer"))
        connection = Connection.objects.valid().filter(user=models.OuterRef("user"), server=models.OuterRef("server"))
        return self.current().filter(same, models.Exists(connection))


class OAuthGrant(models.Model):
    """What an authorisation server granted one user for one server. It outlives both until its tokens are revoked."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    server = models.ForeignKey(Server, null=True, on_delete=models.SET_NULL, related_name="+")
    client = models.ForeignKey(OAuthClient, on_delete=models.CASCADE, related_name="grants")
    issuer = models.TextField()
    url = models.TextField(help_text="of the server, the only one that gets the token")
    resource = models.TextField(blank=True)
    token_endpoint = models.TextField()
    revocation_endpoint = models.TextField(blank=True)
    scopes = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    wanted_scopes = ArrayField(
        models.CharField(max_length=255), default=list, blank=True, help_text="what the server asked for beyond them"
    )
    tokens_encrypted = models.BinaryField(default=b"", editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="of the access token")
    refresh_at = models.DateTimeField(null=True, blank=True, help_text="from when on another one is asked for")
    refreshed_at = models.DateTimeField(default=timezone.now)
    version = models.PositiveIntegerField(default=0, help_text="counts its tokens")
    refreshing_until = models.DateTimeField(null=True, blank=True, help_text="somebody spends its refresh token")
    problem = models.TextField(blank=True, help_text="why it must be signed in again")
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = OAuthGrantQuerySet.as_manager()

    class Meta:
        db_table = "oauth_grants"
        verbose_name = "OAuth grant"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "server"], condition=Q(ended_at=None), name="one_grant_per_user_and_server"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} → {self.server_id} by {self.issuer}"

    @property
    def is_due(self) -> bool:
        return self.refresh_at is not None and self.refresh_at <= timezone.now()

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def lacks_scopes(self) -> list[str]:
        """What the server asked for that was not granted."""
        return [scope for scope in self.wanted_scopes if scope not in self.scopes]

    @property
    def was_refreshed_just_now(self) -> bool:
        return self.version > 0 and timezone.now() - self.refreshed_at < REFRESHED_JUST_NOW
