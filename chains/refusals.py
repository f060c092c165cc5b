"""What the verbs of chains refuse, in sentences; beside these there is PlanError."""

from chains.plan import Problem


class InputError(Exception):
    """What the run was given does not fit the plan's inputs; paths are pointers into the inputs."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


class Conflict(Exception):
    """The run is not in a state in which this can be done; the message is a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
