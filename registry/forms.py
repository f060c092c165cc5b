"""Forms of servers: add one by its address, authorise its tools."""

import fnmatch
import shlex
from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from registry.models import Connection, Health, Policy, Server, Tool
from registry.services import ServerFields

POLICY_WORDS = {Policy.AUTO: "never ask", Policy.ASK: "always ask", Policy.NEVER: "never call"}
ALL, CHOSEN = "all", "chosen"
MAX_TOOL_ROWS = 100  # of a server with more tools, names are written instead of ticked
MAX_NAMES = 10_000


def pairs_of(text: str) -> dict[str, str]:
    """`NAME=value` lines. Raises ValidationError naming the line that is none."""
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ValidationError("Write one NAME=value a line.")  # the line itself may hold a secret
        found[name.strip()] = value.strip()
    return found


class ServerForm(forms.Form):
    """What every kind of server is asked. `told` is what `add_server` takes."""

    name = forms.CharField(max_length=255, help_text="What you call it. Plans use it in small letters.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["description"] = forms.CharField(
            required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text="What it is for: search reads this."
        )
        self.fields["shared"] = forms.BooleanField(required=False, label="Others here may see and connect it, too")

    @property
    def told(self) -> ServerFields:
        told = {name: value for name, value in self.cleaned_data.items() if value and name != "shared"}
        shared = self.cleaned_data["shared"]
        told["visibility"] = Server.Visibility.PUBLIC if shared else Server.Visibility.PRIVATE
        return cast(ServerFields, told)


class UrlForm(ServerForm):
    url = forms.CharField(
        label="Address",
        widget=forms.TextInput(attrs={"inputmode": "url", "class": "code", "placeholder": "https://example.com/mcp"}),
    )
    transport = forms.ChoiceField(
        choices=[
            ("streamable_http", "Streamable HTTP (most servers)"),
            ("sse", "SSE (older servers, often under /sse)"),
        ]
    )


class CommandForm(ServerForm):
    command = forms.CharField(
        widget=forms.TextInput(attrs={"class": "code", "placeholder": "uvx mcp-server-time"}),
        help_text="The program and its arguments, as in a shell. It is started for each run and ended with it.",
    )
    env = forms.CharField(
        required=False,
        label="Environment",
        widget=forms.Textarea(attrs={"rows": 2, "class": "code", "spellcheck": "false", "placeholder": "NAME=value"}),
        help_text="One NAME=value a line. Stored encrypted, shown to nobody.",
    )

    def clean_command(self) -> list[str]:
        try:
            words = shlex.split(self.cleaned_data["command"])
        except ValueError as error:
            raise ValidationError("A quotation mark is not closed.") from error
        if not words:
            raise ValidationError("Write the program to start.")
        return words

    def clean_env(self) -> dict[str, str]:
        return pairs_of(self.cleaned_data["env"])

    @property
    def told(self) -> ServerFields:
        command, *args = self.cleaned_data["command"]
        return cast(ServerFields, {**super().told, "command": command, "args": args})


class OpenApiForm(ServerForm):
    openapi_url = forms.CharField(
        label="Address of the OpenAPI document",
        widget=forms.TextInput(attrs={"class": "code", "placeholder": "https://example.com/openapi.json"}),
        help_text="Each operation of the document becomes a tool.",
    )


FORMS: dict[str, type[ServerForm]] = {"url": UrlForm, "command": CommandForm, "openapi": OpenApiForm}


class AuthoriseForm(forms.Form):
    """All tools or chosen ones, when they ask, and the credentials (which are written, never shown)."""

    scope = forms.ChoiceField(choices=[(ALL, "All tools"), (CHOSEN, "Only these")], widget=forms.RadioSelect)
    default = forms.ChoiceField(
        required=False,
        label="Before a tool is called",
        choices=[
            ("", "Ask, unless it only reads"),
            (Policy.AUTO, "Never ask"),
            (Policy.ASK, "Always ask"),
            (Policy.NEVER, "Never call it"),
        ],
    )
    more = forms.CharField(
        required=False,
        label="Other credentials",
        widget=forms.Textarea(attrs={"rows": 2, "class": "code", "spellcheck": "false", "placeholder": "NAME=value"}),
    )

    names = forms.CharField(
        required=False,
        label="Names of these tools",
        widget=forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false", "placeholder": "list_*"}),
        help_text="One a line; * stands for anything.",
    )

    def __init__(self, server: Server, connection: Connection | None, data: Any = None) -> None:
        allows_all = connection is None or connection.all_tools or not connection.tools
        initial = {
            "scope": ALL if allows_all else CHOSEN,
            "default": connection.approval_default if connection else "",
            "names": "" if allows_all or connection is None else "\n".join(connection.tools),
        }
        super().__init__(data, initial=initial)
        self.data_of_tools = data
        self.known = list(server.tools.present().values_list("name", flat=True))
        self.is_long = len(self.known) > MAX_TOOL_ROWS
        self.tools = [] if self.is_long else list(server.tools.present().only("name", "server_id"))
        self.connection = connection
        for index, variable in enumerate(asked_for(server)):
            self.fields[f"credential-{index}"] = credential_field(variable)

    @property
    def rows(self) -> list[tuple[Tool, bool, str]]:
        """Each tool, is it chosen, and the policy set for it; none where they are too many to be shown."""
        return [(tool, self._is_chosen(tool), self._policy(tool)) for tool in self.tools]

    @property
    def credential_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("credential-")]

    def _is_chosen(self, tool: Tool) -> bool:
        if self.data_of_tools is not None:
            return tool.name in self.data_of_tools.getlist("tools")
        return self.connection is None or self.connection.allows(tool.name)

    def _policy(self, tool: Tool) -> str:
        if self.data_of_tools is not None:
            return str(self.data_of_tools.get(f"policy-{tool.pk}", ""))
        return self.connection.approval_tools.get(tool.name, "") if self.connection else ""

    def clean_more(self) -> dict[str, str]:
        return pairs_of(self.cleaned_data["more"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("scope") == CHOSEN and not self._named(cleaned):
            self.add_error("scope", "Choose at least one tool, or revoke the authorisation instead.")
        return cleaned

    @property
    def chosen_tools(self) -> list[str] | None:
        """None for all of them."""
        if self.cleaned_data["scope"] == ALL:
            return None
        return self._named(self.cleaned_data)

    def _named(self, cleaned: Mapping[str, Any]) -> list[str]:
        if not self.is_long:
            return [tool.name for tool, chosen, _ in self.rows if chosen]
        lines = list(filter(None, (line.strip() for line in cleaned.get("names", "").splitlines())))[:MAX_NAMES]
        named = [fnmatch.filter(self.known, line) if "*" in line else [line] for line in lines]
        return list(dict.fromkeys(name for names in named for name in names))

    @property
    def approval(self) -> dict[str, Any]:
        policies = {tool.name: policy for tool, _, policy in self.rows if policy in Policy.values}
        if self.is_long and self.connection:
            policies = self.connection.approval_tools
        return {"default": self.cleaned_data["default"], "tools": policies}

    @property
    def credentials(self) -> dict[str, str]:
        """Only what was typed now: what is stored already stays."""
        named = {self.fields[field.name].label: self.cleaned_data[field.name] for field in self.credential_fields}
        return {str(name): value for name, value in named.items() if value} | self.cleaned_data["more"]


def asked_for(server: Server) -> list[Mapping[str, Any]]:
    """The variables or headers a server asks for: those its catalogue names, else what its sign-in implies."""
    listed = server.env_schema if isinstance(server.env_schema, list) else []
    named: list[Mapping[str, Any]] = [item for item in listed if isinstance(item, dict) and item.get("name")]
    if named or server.transport == Server.Transport.STDIO:
        return named
    match server.auth_type:
        case Server.AuthType.BEARER | Server.AuthType.OAUTH2:
            return [{"name": "Authorization", "description": "The token.", "secret": True}]
        case Server.AuthType.BASIC:
            return [
                {"name": "Authorization", "description": "Basic and the name and password, encoded.", "secret": True}
            ]
        case Server.AuthType.API_KEY:
            return [{"name": "X-API-Key", "description": "The key.", "secret": True}]
    if server.health == Health.NEEDS_AUTH:
        return [{"name": "Authorization", "description": "Often “Bearer”, a space, and the token.", "secret": True}]
    return []


def credential_field(variable: Mapping[str, Any]) -> forms.Field:
    attributes = {"autocomplete": "off", "class": "code"}
    is_secret = bool(variable.get("secret"))
    widget = forms.PasswordInput(attrs=attributes) if is_secret else forms.TextInput(attrs=attributes)
    return forms.CharField(
        required=False, label=str(variable["name"]), help_text=str(variable.get("description") or ""), widget=widget
    )
