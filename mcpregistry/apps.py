from importlib import import_module

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "mcpregistry"
    verbose_name = "MCP Registry"

    def ready(self) -> None:
        import_module("mcpregistry.audit_signals")  # it needs the models, which are there only now
