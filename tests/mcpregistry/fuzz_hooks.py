"""What schemathesis cannot read from the document: a cursor is opaque, and only one that a list gave leads on."""

import schemathesis
from hypothesis import strategies

schemathesis.openapi.format("cursor", strategies.just(""))
