"""What a planner, with a model or without, hands over."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Draft:
    """Steps in the plan's format, or what the user still has to tell; neither where no tool is needed or fits."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    say: str = ""
    missing: list[str] = field(default_factory=list)

    def as_plan(self) -> dict[str, Any]:
        return {"version": 1, "steps": self.steps}
