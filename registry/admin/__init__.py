"""The registry's tables in Django's admin. What was observed is read, what a curator decides can be changed."""

from registry.admin import catalogues, people, servers, sign_ins
from registry.admin.records import RecordAdmin

__all__ = ["RecordAdmin", "catalogues", "people", "servers", "sign_ins"]
