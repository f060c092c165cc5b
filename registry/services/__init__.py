"""What can be done to servers, connections and what is known of them. Every verb owns its transaction."""

from registry.commands import MayNotStart
from registry.services.connections import UnknownTools, authorise, keep_credentials, revoke
from registry.services.recording import record_probe
from registry.services.servers import (
    AddressRefused,
    DuplicateServer,
    ServerFields,
    add_server,
    delete_server,
    update_server,
)

__all__ = [
    "AddressRefused",
    "DuplicateServer",
    "MayNotStart",
    "ServerFields",
    "UnknownTools",
    "add_server",
    "authorise",
    "delete_server",
    "keep_credentials",
    "record_probe",
    "revoke",
    "update_server",
]
