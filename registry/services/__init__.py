"""What can be done to servers, connections and what is known of them. Every verb owns its transaction."""

from registry.commands import ChangedCommand, MayNotStart, confirm_command
from registry.services.acceptance import ChangedAgain, NotConnected, accept_for_everybody, accept_tools
from registry.services.connections import authorise, keep_credentials, revoke
from registry.services.errors import UnknownTools
from registry.services.grants import forget_grants
from registry.services.recording import record_probe
from registry.services.servers import (
    AddressRefused,
    DuplicateServer,
    ServerFields,
    add_server,
    delete_server,
    update_server,
)
from registry.services.sharing import MayNotShare, share
from registry.services.sign_ins import sign_in_with

__all__ = [
    "AddressRefused",
    "ChangedAgain",
    "ChangedCommand",
    "DuplicateServer",
    "MayNotShare",
    "MayNotStart",
    "NotConnected",
    "ServerFields",
    "UnknownTools",
    "accept_for_everybody",
    "accept_tools",
    "add_server",
    "authorise",
    "confirm_command",
    "delete_server",
    "forget_grants",
    "keep_credentials",
    "record_probe",
    "revoke",
    "share",
    "sign_in_with",
    "update_server",
]
