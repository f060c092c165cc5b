"""A run whose job was ended because its event loop stood still (registry/watchdog.py)."""

from chains import events, journal, leases
from chains.calls import DOUBT, is_repeatable
from chains.journal import Status
from chains.plan import parse
from registry import watchdog


def give_up_call(run_id: str) -> None:
    """Where one call was under way, it is the one that did it: its step fails, and the run goes on without it. Of
    several nobody knows which: the next driver settles them as after any other death, until one is left."""
    run = leases.claim(run_id)
    if run is None:
        return
    rows, toolbox = journal.standing(run, parse(run.plan))
    calling = [row for row in rows.values() if row.status == Status.RUNNING]
    if len(calling) == 1:
        (row,) = calling
        tool = next((toolbox.tool(step) for step in parse(run.plan).steps if step.id == row.step), None)
        doubt = "" if tool is not None and is_repeatable(tool) else f" {DOUBT}"
        journal.close(row, Status.FAILED, error={"code": "timeout", "message": f"{watchdog.WORDS}{doubt}"})
        journal.write(run, [row], [(events.STEP_FINISHED, journal.finished_event(row))])
    journal.hand_over(run, [*rows.values()])
