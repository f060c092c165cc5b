from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chains", "0002_template_versions")]

    operations = [
        migrations.AddField("toolrun", "approved_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "toolrun",
            "edited_arguments",
            models.JSONField(blank=True, help_text="what a person approved instead", null=True),
        ),
    ]
