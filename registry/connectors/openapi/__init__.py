"""OpenAPI 3.1, 3.0 and Swagger 2.0: every operation of a document is a tool, a call is an HTTP request."""

from registry.connectors.openapi.session import connect

__all__ = ["connect"]
