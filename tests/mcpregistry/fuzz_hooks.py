"""What schemathesis cannot read from the document."""

import schemathesis
from hypothesis import strategies

UNKNOWN_HEADER = "x-schemathesis-unknown-property"

# A cursor is opaque, and only one that a list gave leads on.

schemathesis.openapi.format("cursor", strategies.just(""))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """A header that nobody knows is none of our business, whichever operation names headers of its own."""
    return UNKNOWN_HEADER not in (case.headers or {})
