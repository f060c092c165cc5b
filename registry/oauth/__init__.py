"""OAuth 2.1 as a client of MCP servers: what is asked of whom, without storing anything.

`discovery` finds out where one signs in, `clients` makes us known there, `authorization` writes the address a person
goes to and judges what comes back, `tokens` trades codes and refresh tokens for tokens. The SDK's own flow waits for
the person inside one HTTP request; ours goes on in another process minutes later, so only its models and its rules
without state are used (docs/decisions). Every request goes through registry/outbound.py.
"""
