import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chains", "0006_schedules_by_cron")]

    operations = [
        migrations.CreateModel(
            name="HeldFile",
            fields=[
                (
                    "result",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="held",
                        serialize=False,
                        to="chains.result",
                    ),
                ),
                ("content", models.BinaryField()),
                ("held_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "moving_at",
                    models.DateTimeField(blank=True, help_text="since when somebody moves it", null=True),
                ),
            ],
            options={"db_table": "held_files"},
        ),
    ]
