import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def plans_were_saved_when_last_changed(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("chains", "Template").objects.update(plan_saved_at=F("updated_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("chains", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="template",
            name="plan_saved_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, help_text="when this version of the plan was saved"
            ),
        ),
        migrations.RunPython(plans_were_saved_when_last_changed, migrations.RunPython.noop, elidable=True),
        migrations.CreateModel(
            name="TemplateVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("plan", models.JSONField()),
                ("saved_at", models.DateTimeField(help_text="when this version was saved, not when it was replaced")),
                (
                    "saved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "template",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="former", to="chains.template"
                    ),
                ),
            ],
            options={
                "db_table": "template_versions",
                "ordering": ["-version"],
                "constraints": [
                    models.UniqueConstraint(fields=("template", "version"), name="one_row_per_template_version")
                ],
            },
        ),
    ]
