"""Hold a chat's run while something slow goes on: its lease is renewed, and a wish to stop is heard within a second."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from chains import leases
from chains.dispatch import dispatch, dispatch_waiting
from chains.journal import CancelRequested, end_cancelled
from chains.models import Run
from chains.services import finish_run

logger = logging.getLogger(__name__)
BEAT_S = 1.0
INTERNAL = {"code": "internal", "message": "Something went wrong on our side; it has been logged. Try the run again."}


_stopping = threading.Event()


class HandedBack(Exception):
    """This process ends: somebody else goes on with the run."""


def hand_back_everything() -> None:
    """Whoever drives a run in this process gives it back at its next beat."""
    _stopping.set()


def let_go() -> None:
    """Where turns share a pool of connections, one that waits needs none."""
    if connection.settings_dict["OPTIONS"].get("pool") and not connection.in_atomic_block:
        connection.close()


@dataclass(slots=True)
class Driver:
    """Whoever holds the run's lease."""

    run: Run
    token: int
    last_beat: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """Cheap to call often. Raises LostLease, CancelRequested or HandedBack."""
        if _stopping.is_set():
            raise HandedBack
        if time.monotonic() - self.last_beat < BEAT_S:
            return
        self.hold()
        let_go()

    def hold(self) -> None:
        """Lock the run's row, in a transaction: before any other, as whoever deletes the run does. Raises LostLease or
        CancelRequested."""
        self.last_beat = time.monotonic()
        if leases.hold(self.run.pk, self.token):
            raise CancelRequested


def drive(run_id: str, work: Callable[[Driver], None]) -> None:
    """Do `work` if nobody else drives the run; whatever happens, the run is left finished or free to be taken up."""
    close_old_connections()
    run = leases.claim(run_id)
    if run is None:
        return
    with _ended_well(run, run.lease_token):
        work(Driver(run, run.lease_token))
    dispatch_waiting(run.owner_id, after=run.pk)


@contextmanager
def _ended_well(run: Run, token: int) -> Iterator[None]:
    """What nobody foresaw fails the run and goes on to the queue's log of failed jobs."""
    foreseen = False
    try:
        yield
        foreseen = True
    except leases.LostLease:
        foreseen = True
        logger.info("Run %s is somebody else's by now, or over.", run.pk)
    except CancelRequested:
        foreseen = True
        end_cancelled(run, token)
    except HandedBack:
        foreseen = True
        leases.release(run.pk, token)
        dispatch(run)
    except (OperationalError, InterfaceError):
        foreseen = True  # nothing can be written now; the reconciler takes the run up again
        raise
    finally:
        if not foreseen:
            _fail(run, token)


def _fail(run: Run, token: int) -> None:
    with suppress(leases.LostLease):
        finish_run(run=run, status=Run.Status.FAILED, error=INTERNAL, lease_token=token)
