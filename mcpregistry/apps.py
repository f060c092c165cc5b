from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "mcpregistry"
    verbose_name = "MCP Registry"
