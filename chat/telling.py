"""Pieces of answers of all turns of this process, written down together.

Each would else be a transaction of its own, up to twenty a second for each answer. Whoever tells a piece waits until it
is written, so an answer that streams faster than the database writes comes in larger pieces, and none is lost.
"""

import logging
import threading
import time
import uuid
from concurrent.futures import Future
from typing import Any

from django.db import Error, connection

from chains import events
from chains.events import Piece

logger = logging.getLogger(__name__)
PAUSE_S = 0.02  # between two writings; the first piece after a pause is written at once


class Teller:
    """One thread that writes for many."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: list[tuple[Piece, Future[bool]]] = []
        self.closed = False
        self.thread = threading.Thread(target=self._work, name="teller", daemon=True)
        self.thread.start()

    def tell(self, piece: Piece) -> bool:
        """Is it written? Not where the run is somebody else's, or locked in this moment. Raises what writing raised."""
        written: Future[bool] = Future()
        with self.changed:
            self.waiting.append((piece, written))
            self.changed.notify()
        return written.result()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _work(self) -> None:
        while together := self._take():
            _write(together)
            time.sleep(PAUSE_S)
        connection.close()

    def _take(self) -> "list[tuple[Piece, Future[bool]]]":
        """All that waits, once something does; nothing at the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            together, self.waiting = self.waiting, []
            return together


def _write(together: list[tuple[Piece, "Future[bool]"]]) -> None:
    try:
        told = events.publish_each([piece for piece, _ in together])
    except Error as error:
        _fail(together, error)
    except Exception as error:  # the thread goes on whatever it was: everybody waits for it
        logger.exception("Pieces of %s answers could not be written.", len(together))
        _fail(together, error)
    else:
        for piece, written in together:
            written.set_result((piece.run_id, piece.lease_token) in told)


def _fail(together: list[tuple[Piece, "Future[bool]"]], error: Exception) -> None:
    connection.close()
    for _, written in together:
        written.set_exception(error)


_tellers: list[Teller] = []


def tell_together() -> None:
    """For a process in which many turns go on at once."""
    if not _tellers:
        _tellers.append(Teller())


def tell(run_id: uuid.UUID, event: str, data: dict[str, Any], *, lease_token: int) -> None:
    """Publish one event of a run, outside of transactions. Raises LostLease."""
    if _tellers and _tellers[0].tell(Piece(run_id, lease_token, event, data)):
        return
    events.publish(run_id, [(event, data)], lease_token=lease_token)
