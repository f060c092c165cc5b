"""Catalogues that can be read, by the name `manage.py import_catalogue` takes. A new one is a file and a line here."""

from registry.importers.base import Importer
from registry.importers.docker import DockerImporter
from registry.importers.file import FileImporter
from registry.importers.mcp_get import McpGetImporter
from registry.importers.official import OfficialImporter
from registry.importers.smithery import SmitheryImporter

IMPORTERS: dict[str, Importer] = {
    importer.name: importer
    for importer in (OfficialImporter(), SmitheryImporter(), McpGetImporter(), DockerImporter(), FileImporter())
}
