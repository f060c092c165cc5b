"""What is wrong with a plan, and where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_MESSAGE_CHARS = 1_000
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    path: str  # a JSON pointer into the plan
    code: str  # snake_case
    message: str  # one sentence a person or a planner can act on
    severity: str = ERROR  # a WARNING does not keep the plan from running

    def as_json(self) -> dict[str, str]:
        message = self.message[:MAX_MESSAGE_CHARS]
        return {"path": self.path, "code": self.code, "message": message, "severity": self.severity}


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that keep a plan from running."""
    return [problem for problem in problems if problem.severity == ERROR]


class PlanError(Exception):
    """A plan that cannot run; it carries everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        self.problems = list(problems)

    @property
    def message(self) -> str:
        first = self.problems[0]
        more = len(self.problems) - 1
        return f"{first.message} ({first.path})" + (f" and {more} more" if more else "")


def pointer_to(*tokens: str | int) -> str:
    """The JSON pointer (RFC 6901) through these keys and indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)
