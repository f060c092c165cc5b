"""An index for what a catalogue lists, and readable names of choices."""

from django.db import migrations, models

HEALTH = [
    ("untested", "Untested"),
    ("ok", "OK"),
    ("needs_auth", "Needs sign-in"),
    ("wrong_transport", "Wrong Transport"),
    ("not_mcp", "Not what it should be"),
    ("unreachable", "Unreachable"),
    ("timeout", "Timeout"),
    ("blocked", "Blocked"),
]
AUTH_TYPES = [
    ("none", "None"),
    ("bearer", "Bearer"),
    ("api_key", "API key"),
    ("basic", "Basic"),
    ("oauth2", "OAuth 2"),
]
TRANSPORTS = [
    ("streamable_http", "Streamable HTTP"),
    ("sse", "SSE"),
    ("stdio", "Command"),
    ("openapi", "OpenAPI"),
]


class Migration(migrations.Migration):
    dependencies = [("registry", "0005_servers_by_change")]

    operations = [
        migrations.AlterField(
            model_name="connection",
            name="health",
            field=models.CharField(
                choices=HEALTH, default="untested", help_text="with the user's own credentials", max_length=16
            ),
        ),
        migrations.AlterField(
            model_name="healthcheck", name="health", field=models.CharField(choices=HEALTH, max_length=16)
        ),
        migrations.AlterField(
            model_name="server",
            name="auth_type",
            field=models.CharField(choices=AUTH_TYPES, default="none", max_length=16),
        ),
        migrations.AlterField(
            model_name="server",
            name="health",
            field=models.CharField(choices=HEALTH, default="untested", max_length=16),
        ),
        migrations.AlterField(
            model_name="server",
            name="transport",
            field=models.CharField(
                blank=True,
                choices=TRANSPORTS,
                help_text="empty: a catalogue lists it without an address",
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="sourcerecord",
            index=models.Index(
                condition=models.Q(("removed_at", None)), fields=["source", "server"], name="source_record_listed"
            ),
        ),
    ]
