"""Checking values against JSON Schemas that come from servers and users, and are therefore not to be trusted.

Only keywords that are cheap to evaluate and that loosen when they are left out are looked at (`loosened`): no regular
expression of a server runs here, nothing is fetched, nothing malformed raises, and a value that is not known yet
(`Unknown`) is taken to fit wherever its type allows. What passes here may still be refused by the server.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from chains.plan.problems import Problem, pointer_to

MAX_DEPTH = 64
MAX_REFERENCES = 5_000  # followed in one check: schemas can be small and unfold without end
MAX_CHECKS = 20_000  # of a keyword against a part of the value, in one check of all: about a second
MAX_PROBLEMS = 20
TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_references_left: ContextVar[int] = ContextVar("references_left")
_checks_left: ContextVar[int] = ContextVar("checks_left")


class TooComplex(Exception):
    """The schema unfolds beyond what is worth following, or the value is too large to be looked at."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is known only when the plan runs. `types` are the JSON types it can have; None: any."""

    name: str
    types: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"the value of {self.name}"


def problems_of(value: Any, schema: Any, path: str) -> list[Problem]:
    """What is wrong with `value` (it may hold Unknowns), as far as `schema` can be evaluated safely."""
    validator = _Validator(loosened(schema), registry=Registry())
    budget = _references_left.set(MAX_REFERENCES)
    checks = _checks_left.set(MAX_CHECKS)
    try:
        errors = [error for error, _ in zip(validator.iter_errors(value), range(MAX_PROBLEMS), strict=False)]
    except (RecursionError, Unresolvable, TooComplex):
        return []
    finally:
        _references_left.reset(budget)
        _checks_left.reset(checks)
    return [problem for error in errors for problem in _as_problems(error, path)]


def loosened(schema: Any, depth: int = 0) -> Any:
    """The part of a schema that is safe to evaluate; a value that fits the schema also fits this."""
    if schema is False:
        return False
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return True
    kept = {name: schema[name] for name, is_sound in _SCALARS.items() if name in schema and is_sound(schema[name])}
    for name in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(name), dict):
            kept[name] = {key: loosened(item, depth + 1) for key, item in schema[name].items()}
    for name in ("allOf", "anyOf", "prefixItems"):
        if isinstance(schema.get(name), list) and schema[name]:
            kept[name] = [loosened(item, depth + 1) for item in schema[name]]
    if isinstance(schema.get("oneOf"), list) and schema["oneOf"]:
        kept["allOf"] = [*kept.get("allOf", []), {"anyOf": [loosened(item, depth + 1) for item in schema["oneOf"]]}]
    if isinstance(schema.get("items"), dict | bool):
        kept["items"] = loosened(schema["items"], depth + 1)
    if isinstance(schema.get("additionalProperties"), dict | bool) and "patternProperties" not in schema:
        kept["additionalProperties"] = loosened(schema["additionalProperties"], depth + 1)
    return kept


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


_SCALARS: Mapping[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "enum": lambda value: isinstance(value, list),
    "const": lambda value: True,
    "required": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "$ref": lambda value: isinstance(value, str) and value.startswith("#"),
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_number,
    "exclusiveMaximum": _is_number,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "minProperties": _is_count,
    "maxProperties": _is_count,
}

Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _tolerant(check: Check) -> Check:
    """The library's check of one keyword, passed by what is not known yet."""

    def tolerant(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, Unknown):
            yield from check(validator, value, instance, schema) or ()

    return tolerant


def _counted(check: Check) -> Check:
    """A check that counts: a list of a million texts, each held against a schema, would hold up everything else."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        left = _checks_left.get()
        if left == 0:
            raise TooComplex
        _checks_left.set(left - 1)
        return check(validator, value, instance, schema)

    return counted


def _type(validator: Any, types: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    wanted = types if isinstance(types, list) else [types]
    if not isinstance(instance, Unknown):
        yield from Draft202012Validator.VALIDATORS["type"](validator, types, instance, schema) or ()
    elif instance.types is not None and not _overlap(instance.types, wanted):
        yield ValidationError("type")


def _overlap(types: frozenset[str], wanted: list[str]) -> bool:
    allowed = {*wanted, "integer"} if "number" in wanted else set(wanted)
    possible = types | {"integer"} if "number" in types else types
    return bool(possible & allowed)


def _equal(check: Check) -> Check:
    """enum and const compare whole values: they say nothing about one with unknown parts."""

    def compare(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not _holds_unknown(instance):
            yield from check(validator, value, instance, schema) or ()

    return compare


def _holds_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_unknown, value.values()))
    if isinstance(value, list):
        return any(map(_holds_unknown, value))
    return isinstance(value, Unknown)


def _ref(validator: Any, ref: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    left = _references_left.get()
    if left == 0:
        raise TooComplex
    _references_left.set(left - 1)
    if not isinstance(instance, Unknown) or instance.types is not None:
        yield from Draft202012Validator.VALIDATORS["$ref"](validator, ref, instance, schema) or ()


def _combined(name: str) -> Check:
    """allOf and anyOf look into their parts also for a value of which only the type is known."""

    def combine(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, Unknown) or instance.types is not None:
            yield from Draft202012Validator.VALIDATORS[name](validator, value, instance, schema) or ()

    return combine


CHECKS: Mapping[str, Check] = (
    {name: _tolerant(check) for name, check in Draft202012Validator.VALIDATORS.items()}
    | {name: _equal(Draft202012Validator.VALIDATORS[name]) for name in ("enum", "const")}
    | {name: _combined(name) for name in ("allOf", "anyOf")}
    | {"type": _type, "$ref": _ref}
)
_Validator = extend(Draft202012Validator, {name: _counted(check) for name, check in CHECKS.items()})


def _as_problems(error: Any, path: str) -> Iterator[Problem]:
    here = path + pointer_to(*error.absolute_path)
    match error.validator:
        case "required":
            # The library reports each missing name as an error of its own and names it in the message only.
            missing = next(name for name in error.validator_value if error.message.startswith(repr(name)))
            yield Problem(here + pointer_to(missing), "missing_argument", f"“{missing}” is required.")
        case "additionalProperties":
            for name in sorted(set(error.instance) - set(error.schema.get("properties", {}))):
                yield Problem(here + pointer_to(name), "unknown_argument", f"“{name[:100]}” is not known here.")
        case "type":
            yield Problem(here, "wrong_type", f"Must be {_listed(error.validator_value)}, not {_kind(error.instance)}.")
        case "anyOf":
            yield _none_fits(error, here)
        case "enum":
            yield Problem(here, "invalid_argument", f"Must be one of {_short(error.validator_value)}.")
        case _:
            yield Problem(here, "invalid_argument", f"{error.message[-300:]}.")


def _none_fits(error: ValidationError, here: str) -> Problem:
    causes = [cause for cause in error.context or [] if not cause.relative_path]
    types = [name for cause in causes if cause.validator == "type" for name in _names(cause.validator_value)]
    if types and all(cause.validator == "type" for cause in error.context or []):
        return Problem(here, "wrong_type", f"Must be {_listed(types)}, not {_kind(error.instance)}.")
    return Problem(here, "invalid_argument", "Fits none of the forms the tool accepts here.")


def _names(types: Any) -> list[str]:
    return types if isinstance(types, list) else [types]


def _listed(types: Any) -> str:
    return " or ".join(dict.fromkeys(_names(types)))


def _short(value: Any) -> str:
    text = ", ".join(repr(item) for item in value[:20])
    return text if len(text) <= 300 else text[:300] + "…"


def _kind(value: Any) -> str:
    if isinstance(value, Unknown):
        return f"{' or '.join(sorted(value.types or ()))} ({value!r})"
    for name in ("null", "boolean", "integer", "number", "string", "array", "object"):
        if Draft202012Validator.TYPE_CHECKER.is_type(value, name):
            return name
    return type(value).__name__
