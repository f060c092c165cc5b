"""Drives one run: calls the steps that are ready, side by side, and writes down what happened (chains.journal).

Everything here can stop at any moment, even by kill -9. Whoever claims the run next reads the journal and goes on:
what is done is not done again, and a call of which the end is not known is repeated only where that is harmless.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError

from chains import artifacts, files, journal, leases
from chains.approvals import hash_of, is_approved
from chains.calls import Caller, StepFailed, is_repeatable
from chains.database import in_database
from chains.dispatch import HAND_OVER_S
from chains.journal import CancelRequested, Status
from chains.leases import LostLease
from chains.models import Run, ToolRun
from chains.plan import Plan, Step, Toolbox, Unresolved, layers, parse, resolve
from chains.plan.schemas import problems_of
from registry.models import Policy, Tool

logger = logging.getLogger(__name__)
MAX_PARALLEL = 20  # calls of one run at a time
LOOK_S = 0.5  # how often a driver looks whether it should stop, or go on with what was approved
RENEW_S = leases.LEASE_SECONDS / 3
TRUST_S = 5  # how long what the user has authorised is taken to hold
FAILURES = (Status.FAILED, Status.CANCELLED)
GONE = (*FAILURES, Status.SKIPPED)

asked_to_hand_over = threading.Event()  # this process is to end: drivers begin no other step


def hand_over_soon() -> None:
    """What is being called is waited for; the run is then given to another job. May be called by a signal's handler."""
    asked_to_hand_over.set()


async def drive(run_id: uuid.UUID | str) -> Run | None:
    """Carry a run as far as it goes now: to its end, or until somebody must approve. None where another drives it."""
    run = await in_database(leases.claim, run_id)
    if run is None:
        return None
    try:
        async with Boundary(run):
            await Driver(run, parse(run.plan)).work()
    except LostLease as lost:
        logger.warning("Stopped driving: the lease is lost (%s).", lost)
    return run


class Boundary:
    """Nobody waits for ever: a run that meets a mistake of ours ends, and says so.

    A database or a storage that does not answer is not one: the lease runs out, and the run is taken up again.
    """

    PASSES = (LostLease, OperationalError, InterfaceError, files.StorageDown)

    def __init__(self, run: Run) -> None:
        self.run = run

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception) or isinstance(error, self.PASSES):
            return False
        logger.error("Run %s met a mistake of ours.", self.run.pk, exc_info=error)
        await in_database(journal.give_up, self.run, INTERNAL)
        return True


class Driver:
    """One run in one process, from claiming it to giving it back."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.run, self.plan = run, plan
        self.rows: dict[str, ToolRun] = {}
        self.results: dict[str, Any] = {}  # whole, unlike those of the rows
        self.calling: dict[asyncio.Task[None], str] = {}
        self.caller = Caller(run)
        self.toolbox: Toolbox | None = None
        self.trusted_until = 0.0
        self.stops_at = time.monotonic() + HAND_OVER_S

    async def work(self) -> None:
        watcher = asyncio.create_task(self.watch(), name="watch")
        try:
            await self.recall()
            await self.carry_out(watcher)
        except CancelRequested:
            await self.stop_calls()
            await in_database(journal.end_cancelled, self.run, self.run.lease_token)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await self.stop_calls()
            await self.caller.close()

    async def watch(self) -> None:
        """Keeps the lease. Ends by raising CancelRequested or LostLease."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            await in_database(journal.look, self.run)
            if time.monotonic() - renewed > RENEW_S:
                await in_database(leases.renew, self.run.pk, self.run.lease_token)
                renewed = time.monotonic()

    async def recall(self) -> None:
        """Where the journal says the run stands."""
        self.rows, self.toolbox = await in_database(journal.standing, self.run, self.plan)
        self.trusted_until = time.monotonic() + TRUST_S
        if any(row.status == Status.RUNNING for row in self.rows.values()):
            tools = {step.id: (await self.trusted()).tool(step) for step in self.plan.steps}
            repeatable = {step_id for step_id, tool in tools.items() if tool and is_repeatable(tool)}
            await in_database(journal.settle_interrupted, self.run, list(self.rows.values()), repeatable)
        for row in self.rows.values():
            await self.remember(row)

    async def remember(self, row: ToolRun) -> None:
        if row.status == Status.SUCCEEDED:
            self.results[row.step] = await in_database(artifacts.whole, row.result or {}, files.read_file)

    async def carry_out(self, watcher: "asyncio.Task[None]") -> None:
        while True:
            await self.skip_hopeless()
            self.start_ready()
            waiting = [row for row in self.rows.values() if row.status in ToolRun.ASKING]
            if self.calling:
                tasks = {watcher, *self.calling}
                await asyncio.wait(tasks, timeout=LOOK_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
                self.collect(watcher)
            elif any(self.ready()):
                return await in_database(journal.hand_over, self.run, [*self.rows.values()])
            elif not waiting:
                return await self.finish()
            elif await in_database(journal.park, self.run, waiting):
                return None
            await self.hear(waiting)

    async def hear(self, waiting: list[ToolRun]) -> None:
        """What people answered since."""
        for row in await in_database(journal.answered_since, self.run, waiting) if waiting else ():
            self.rows[row.step] = row
            await self.remember(row)

    def start_ready(self) -> None:
        if time.monotonic() < self.stops_at and not asked_to_hand_over.is_set():
            for step in self.ready()[: MAX_PARALLEL - len(self.calling)]:
                self.calling[asyncio.create_task(self.step(step), name=f"step {step.id}")] = step.id

    def ready(self) -> list[Step]:
        """The steps that can be begun."""
        idle = set(self.rows) - set(self.calling.values())
        pending = [step for step in self.plan.steps if step.id in idle and self.rows[step.id].status == Status.PENDING]
        return [step for step in pending if all(self.rows[need].status == Status.SUCCEEDED for need in step.needs)]

    def collect(self, watcher: "asyncio.Task[None]") -> None:
        """Forget the tasks that are done, and raise what they raised."""
        done = [task for task in self.calling if task.done()]
        for task in done:
            del self.calling[task]
        for task in [watcher, *done]:
            if task.done():
                task.result()

    async def skip_hopeless(self) -> None:
        """What needs a step without a result is skipped, and so is what needs that."""
        while lost := [(row, need) for row, need in map(self.lost_need, self.plan.steps) if need]:
            need = lost[0][1]
            await in_database(journal.skip, self.run, [row for row, other in lost if other == need], need)

    def lost_need(self, step: Step) -> tuple[ToolRun, str | None]:
        row = self.rows[step.id]
        waits = row.status == Status.PENDING and step.id not in self.calling.values()
        return row, next((need for need in step.needs if waits and self.rows[need].status in GONE), None)

    async def step(self, step: Step) -> None:
        """One step from its arguments to its result. Raises LostLease only."""
        row = self.rows[step.id]
        try:
            tool, asks = await self.granted(step)
            if asks:
                await in_database(journal.hear_approval, row)
            arguments = self.arguments_of(step, row, tool)
            approval_hash = hash_of(tool, arguments)
            if asks and not is_approved(row, approval_hash):
                return await in_database(journal.ask, self.run, row, artifacts.shown(arguments), approval_hash)
            self.caller.prepare(tool)
            await in_database(journal.begin, self.run, row, artifacts.shown(arguments))
            result = await self.caller.call(step, tool, arguments)
        except StepFailed as failed:
            return await self.end_step(row, Status.FAILED, failed.result, failed.as_json())
        self.results[step.id] = result
        return await self.end_step(row, Status.SUCCEEDED, result, None)

    async def end_step(self, row: ToolRun, status: str, result: Any, error: Mapping[str, Any] | None) -> None:
        kept, kept_files = artifacts.split(result, row.step) if result is not None else (None, [])
        try:
            stored = await self.stored(kept_files)
        except files.StorageDown as down:
            stored, status, error = [], Status.FAILED, storage_down(down)
        if kept is not None and stored:
            kept["files"] = result["files"] = [file.as_json() for file in stored]
        await in_database(journal.end_step, self.run, row, status, result=kept, files=stored, error=error)

    async def stored(self, whole: list[files.File]) -> list[files.Stored]:
        stored = [await asyncio.to_thread(files.store, self.run, file) for file in whole]
        if any(file.held is not None for file in stored):
            await in_database(files.check_room, stored)
        return stored

    async def granted(self, step: Step) -> tuple[Tool, bool]:
        """The tool, if the user may still call it, and whether somebody must approve first."""
        toolbox = await self.trusted()
        tool = toolbox.tool(step)
        connection = toolbox.connections.get(tool.server_id) if tool else None
        if tool is None or connection is None or not connection.allows(tool.name) or not tool.enabled:
            raise StepFailed("not_authorised", f"{step.server}.{step.tool} is not authorised any more.")
        if toolbox.change(tool):
            raise StepFailed("changed_tool", f"{step.server}.{step.tool} changed; look at it on its server's page.")
        policies = {connection.policy_for(tool), step.approval, self.run.approval}
        if Policy.NEVER in policies:
            raise StepFailed("forbidden_by_policy", f"The approval policy for {step.server}.{step.tool} is “never”.")
        return tool, Policy.ASK in policies

    async def trusted(self) -> Toolbox:
        if self.toolbox is None or time.monotonic() > self.trusted_until:
            self.toolbox = await in_database(journal.toolbox_of, self.plan, self.run.owner)
            self.trusted_until = time.monotonic() + TRUST_S
        return self.toolbox

    def arguments_of(self, step: Step, row: ToolRun, tool: Tool) -> dict[str, Any]:
        planned, arguments = step.arguments, row.edited_arguments
        try:
            arguments = resolve(planned, self.results, self.run.inputs) if arguments is None else arguments
        except Unresolved as error:
            raise StepFailed("bad_reference", str(error)) from error
        if problems := problems_of(arguments, tool.input_schema, "/arguments"):
            told = " ".join(f"{problem.path}: {problem.message}" for problem in problems[:3])
            raise StepFailed("invalid_arguments", f"The arguments do not fit the tool. {told}")
        return arguments

    async def finish(self) -> None:
        if self.run.kind != Run.Kind.CHAIN:
            return await in_database(journal.hand_over, self.run, [*self.rows.values()])
        if error := error_of(self.plan, self.rows):
            return await in_database(journal.fail, self.run, error)
        try:
            outputs = outputs_of(self.plan, self.results, self.run.inputs)
        except Unresolved as unresolved:
            error = {"code": "bad_reference", "message": f"Every step succeeded, but not the outputs: {unresolved}"}
            return await in_database(journal.fail, self.run, error)
        large = artifacts.large_outputs(outputs)
        try:
            stored = dict(zip(large, await self.stored(list(large.values())), strict=True))
        except files.StorageDown as down:
            return await in_database(journal.fail, self.run, storage_down(down))
        kept = {name: {"file": stored[name].as_json()} if name in stored else value for name, value in outputs.items()}
        return await in_database(journal.succeed, self.run, kept, list(stored.values()))

    async def stop_calls(self) -> None:
        for task in self.calling:
            task.cancel()
        await asyncio.gather(*self.calling, return_exceptions=True)
        self.calling = {}


def storage_down(down: files.StorageDown) -> dict[str, str]:
    message = f"The call is done, but its result could not be kept: {down} What fits is kept here as a preview."
    return {"code": "storage_down", "message": message}


def outputs_of(plan: Plan, results: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
    """What the plan says a run gives back; where it says nothing, the results of its last layer's steps."""
    if plan.outputs is not None:
        return resolve(plan.outputs, results, inputs)
    return {step.id: results[step.id] for step in layers(plan)[-1]}


INTERNAL = {
    "code": "internal",
    "message": "Something went wrong on our side, and it has been logged. Retry the run from the step it stopped at.",
}
ADVICE = {
    "storage_down": "See that the storage works and has room; a retry calls this step again.",
    "rejected": "Nothing was called for it; retry the run to be asked again.",
    "needs_auth": "Sign in, or enter its credentials, on the server's page, then retry the run.",
    "not_authorised": "Authorise it on the server's page, then retry the run.",
}
RETRY = "Change the plan, or retry the run from this step."


def error_of(plan: Plan, rows: Mapping[str, ToolRun]) -> dict[str, Any] | None:
    """The run's error: the first step that failed, why, and what to do. None when every step succeeded."""
    failed = next((rows[step.id] for step in plan.steps if rows[step.id].status in FAILURES), None)
    if failed is None:
        return None
    error = failed.error or {"code": "cancelled", "message": "It was stopped."}
    advice = ADVICE.get(error["code"], RETRY)
    reason = error["message"].rstrip()
    ended = reason if reason.endswith((".", "!", "?", "…")) else f"{reason}."
    message = f"Step {failed.step} ({failed.server_slug}.{failed.tool}): {ended} {advice}".strip()
    return {"code": error["code"], "message": message, "step": failed.step}
