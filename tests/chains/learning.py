"""A worker that writes down what each of its jobs still had to import and to build. For tests only.

LEARNT names the file: a line of JSON a job.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rq.job import Job

from mcpregistry.workers import ForkingWorker


def models_under(kind: type) -> Iterator[type[BaseModel]]:
    for each in kind.__subclasses__():
        yield each
        yield from models_under(each)


def known() -> set[str]:
    """Names of modules, and of pydantic's models that can be used."""
    built = {f"{each.__module__}.{each.__name__}" for each in models_under(BaseModel) if each.__pydantic_complete__}
    return built | set(sys.modules)


class LearningWorker(ForkingWorker):
    def perform_job(self, job: Job, *rest: Any) -> bool:
        before = known()
        try:
            return super().perform_job(job, *rest)
        finally:
            with Path(os.environ["LEARNT"]).open("a") as learnt:
                learnt.write(json.dumps(sorted(known() - before)) + "\n")
