"""Which definition of a tool somebody accepted."""

from django.db import models
from django.utils import timezone

from registry.models.observed import Definition


class Acceptance(models.Model):
    """The definition of a tool that a connection's user accepted. Another one may not be called."""

    connection = models.ForeignKey("registry.Connection", on_delete=models.CASCADE, related_name="acceptances")
    name = models.CharField(max_length=512)
    definition = models.ForeignKey(
        Definition, on_delete=models.PROTECT, db_column="schema_hash", related_name="acceptances"
    )
    accepted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "accepted_tools"
        constraints = [models.UniqueConstraint(fields=["connection", "name"], name="one_acceptance_per_tool")]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.name}"
