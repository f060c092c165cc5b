"""Plans: the format, what is wrong with one, and what its references stand for."""

from chains.plan.format import MAX_BYTES, MAX_STEPS, PLAN_SCHEMA, Plan, Step, layers, parse, read
from chains.plan.pointers import pointers_seen
from chains.plan.problems import PlanError, Problem, errors, pointer_to
from chains.plan.references import Reference, Unresolved, resolve, scan
from chains.plan.validation import Toolbox, check, input_problems, missing_inputs, validate, with_defaults

__all__ = [
    "MAX_BYTES",
    "MAX_STEPS",
    "PLAN_SCHEMA",
    "Plan",
    "PlanError",
    "Problem",
    "Reference",
    "Step",
    "Toolbox",
    "Unresolved",
    "check",
    "errors",
    "input_problems",
    "layers",
    "missing_inputs",
    "parse",
    "pointer_to",
    "pointers_seen",
    "read",
    "resolve",
    "scan",
    "validate",
    "with_defaults",
]
