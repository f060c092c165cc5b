"""Our client against the MCP conformance suite: `make conformance`."""
