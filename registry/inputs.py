"""What comes in over the API, in one place: each query parameter once, and the base of what a body may hold."""

from functools import cache
from typing import Any, ClassVar

from django.db import models
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.request import Request


# Without a docstring, which the API's document would take for the description of each kind. Names that a kind of input
# does not know are passed over: nothing else can be set by it.
class Input(serializers.Serializer[Any]):
    one_of: ClassVar[tuple[str, ...]] = ()  # of these exactly one is given; the API's document says so too

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in self.one_of if name in attrs]
        if len(given) > 1 or (self.one_of and not given and not self.partial):
            raise serializers.ValidationError({self.one_of[0]: f"Give exactly one of {_listed(self.one_of)}."})
        return attrs


class Text(serializers.CharField):
    """A text, not something that could be written as one: DRF takes 5 for "5"."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """Of a body: true or false, and no word for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Number(serializers.IntegerField):
    """Of a body: a whole number, and no text that holds one."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, (str, bool)):
            self.fail("invalid")
        return super().to_internal_value(data)


# For a ModelSerializer that takes something in: each column by the field that takes it as it is, and nothing like it.
STRICT: dict[Any, Any] = {
    **serializers.ModelSerializer.serializer_field_mapping,
    models.CharField: Text,
    models.BooleanField: Flag,
}


class WholeNumber(serializers.IntegerField):
    """Of a query string: in the digits of a keyboard: Python reads those of any script, and takes 5.0 for 5."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and not (data.isascii() and data.lstrip("-").isdigit()):
            self.fail("invalid")
        return super().to_internal_value(data)


class Words(Input):
    """What a list is searched for."""

    q = Text(required=False, allow_blank=True, max_length=10_000, help_text="words to look for")


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def validated(serializer: Any) -> dict[str, Any]:
    """Raises ValidationError."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def asked(query: type[Input], request: Request) -> dict[str, Any]:
    """The query string, read by `query`. Raises ValidationError."""
    return dict(_reader(query).run_validation(once_each(request.query_params)))


@cache
def _reader(query: type[Input]) -> Input:
    """One for all requests: it keeps nothing of what it reads, and making one costs more than reading."""
    return query()


def once_each(params: QueryDict) -> dict[str, str]:
    """By name. Raises ValidationError."""
    return {name: once(params, name) or "" for name in map(str, params)}


def once(params: QueryDict, name: str) -> str | None:
    """Of two values for one name none is taken: who reads the first would differ from who reads the last."""
    values = params.getlist(name)
    if len(values) > 1:
        raise serializers.ValidationError({name: ["Give it once."]})
    return str(values[0]) if values else None
