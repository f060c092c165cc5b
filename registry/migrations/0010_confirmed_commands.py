import hashlib
import json

from django.db import migrations, models


def confirm_what_has_run(apps, schema_editor):
    """What was started here before, somebody knew of. The fingerprint is that of registry/commands.py."""
    Server = apps.get_model("registry", "Server")
    servers = Server.objects.filter(transport="stdio").exclude(last_healthcheck=None)
    for server in servers.only("command", "args", "env").iterator():
        exact = json.dumps([server.command, server.args, server.env], sort_keys=True)
        told = hashlib.sha256(exact.encode()).hexdigest()
        Server.objects.filter(pk=server.pk).update(confirmed_command=told)


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0009_words_sorted_soon'),
    ]

    operations = [
        migrations.AddField(
            model_name='server',
            name='confirmed_command',
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
        migrations.RunPython(confirm_what_has_run, migrations.RunPython.noop),
    ]
