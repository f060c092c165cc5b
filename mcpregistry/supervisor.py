"""Keep programs running: show what they say, start again what dies, and leave nothing behind at the end.

honcho prints the lines; its Manager is not used because it ends everything when one program ends.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from django.conf import settings
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from mcpregistry import processes
from mcpregistry.embedded import EmbeddedError
from mcpregistry.printing import JsonPrinter


class Child(Protocol):
    """What subprocess.Popen and processes.Forked have in common. `stdout` is what it prints, where we show that."""

    pid: int
    stdout: Any

    def poll(self) -> int | None: ...

    def send_signal(self, signum: signal.Signals) -> None: ...


TICK_S = 0.2
STEADY_S = 60  # who ran this long before it died has not failed before
LONGEST_BACK_OFF_S = 30
BORROWED_CHECK_S = 2
REAP_EVERY_S = 5
PATIENCE_S = 5  # after the request to end
FORCED_PATIENCE_S = 1.5
OWN_NAME = "up"


@dataclass
class Program:
    """Something to keep running. Where `spawn` returns None somebody else runs it: then `answers` is asked at times."""

    name: str
    spawn: Callable[[], Child | None]
    answers: Callable[[], bool] = lambda: True
    halt: Callable[[Any], None] | None = None  # a service that the others need, and how it is stopped after them
    process: Child | None = None
    failures: int = 0
    started_at: float = 0
    due_at: float = 0
    unfinished_line: bytes = b""
    colour: str = ""

    def ended(self) -> str:
        """How it ended, or nothing while it runs."""
        if self.process is not None:
            status = self.process.poll()
            return "" if status is None else f"exit status {status}"
        if time.monotonic() - self.started_at < BORROWED_CHECK_S:
            return ""
        self.started_at = time.monotonic()
        return "" if self.answers() else "whoever ran it stopped it"

    def back_off_s(self) -> float:
        if time.monotonic() - self.started_at > STEADY_S:
            self.failures = 0
        self.failures += 1
        return float(min(2 ** (self.failures - 1), LONGEST_BACK_OFF_S))


def command(name: str, arguments: Sequence[str], environment: Mapping[str, str], keep: Collection[int] = ()) -> Program:
    """A program of ours. It dies with us: what it works on is on disk, and who comes next takes it up. `keep`: open
    files of ours that it shares."""

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=list(keep),
            preexec_fn=processes.bound_to_parent(signal.SIGKILL),
        )

    return Program(name, spawn)


def forked(name: str, work: Callable[[], object]) -> Program:
    """The same for a function, in a fork of this process."""
    return Program(name, lambda: processes.Forked(name, work))


@dataclass
class Supervisor:
    """Everything happens in the thread that calls it, because a child is bound to the life of that thread."""

    programs: list[Program] = field(default_factory=list)
    stop_requests: int = 0

    def __post_init__(self) -> None:
        printer = JsonPrinter if settings.LOG_FORMAT == "json" else Printer
        self.printer = printer(width=len(OWN_NAME))
        self.colours = get_colours()
        self.selector = selectors.DefaultSelector()
        self.next_reap_at = 0.0
        self.muted = False
        processes.adopt_orphans()
        for signum in processes.OURS:
            signal.signal(signum, self._request_stop)

    def _request_stop(self, signum: int, frame: object) -> None:
        self.stop_requests += 1

    # Running

    def add(self, program: Program) -> None:
        """Start `program` and keep it running."""
        program.colour = next(self.colours)
        self.printer.width = max(self.printer.width, len(program.name))
        self.programs.append(program)
        self._start(program)

    def run(self) -> None:
        """Until somebody asks to stop."""
        while not self.stop_requests:
            self.tick()

    def tick(self) -> None:
        self.show_output()
        for program in self.programs:
            self._look_after(program)
        if time.monotonic() > self.next_reap_at:
            self.next_reap_at = time.monotonic() + REAP_EVERY_S
            processes.reap_adopted({program.process.pid for program in self.programs if program.process})

    def _start(self, program: Program) -> None:
        program.due_at, program.started_at = 0, time.monotonic()
        program.process = program.spawn()
        if program.process and program.process.stdout:
            os.set_blocking(program.process.stdout.fileno(), False)
            self.selector.register(program.process.stdout, selectors.EVENT_READ, program)

    def _look_after(self, program: Program) -> None:
        if program.due_at:
            if time.monotonic() >= program.due_at:
                self._start_again(program)
        elif how := program.ended():
            self._close_output(program)
            wait_s = program.back_off_s()
            program.due_at = time.monotonic() + wait_s
            self.say(f"{program.name} ended ({how}); starting it again in {wait_s:.0f} s")

    def _start_again(self, program: Program) -> None:
        try:
            self._start(program)
        except (EmbeddedError, OSError) as error:
            program.due_at = time.monotonic() + program.back_off_s()
            self.say(f"{program.name} could not be started: {error}")

    # Output

    def say(self, text: str) -> None:
        self._print(text, OWN_NAME, None)

    def show_output(self) -> None:
        """What the programs wrote, waiting TICK_S for it at most."""
        for key, _ in self.selector.select(TICK_S):
            self._show_output_of(key.data)

    def _show_output_of(self, program: Program) -> None:
        assert program.process is not None
        assert program.process.stdout is not None
        try:
            data = os.read(program.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(program.process.stdout)
            return
        *lines, program.unfinished_line = (program.unfinished_line + data).split(b"\n")
        for line in lines:
            self._print(line, program.name, program.colour)

    def _close_output(self, program: Program) -> None:
        if program.process is None or program.process.stdout is None or program.process.stdout.closed:
            return
        if program.process.stdout in self.selector.get_map():
            self._show_output_of(program)
        if program.process.stdout in self.selector.get_map():
            self.selector.unregister(program.process.stdout)
        program.process.stdout.close()
        if program.unfinished_line:
            self._print(program.unfinished_line, program.name, program.colour)
        program.unfinished_line = b""

    def _print(self, text: str | bytes, name: str, colour: str | None) -> None:
        if self.muted:
            return
        try:
            self.printer.write(Message("line", text, datetime.now(), name, colour))
        except OSError:  # nobody reads us any more
            self.muted = True
            self.stop_requests += 1

    # Stopping

    def stop(self) -> None:
        """End everything: the programs, what they left behind, then the services."""
        services = [program for program in self.programs if program.halt]
        self._stop_programs([program for program in self.programs if not program.halt])
        processes.sweep(spared={program.process.pid for program in services if program.process})
        for program in services:
            if program.process and program.halt:
                program.halt(program.process)
        processes.sweep()

    def _stop_programs(self, programs: Sequence[Program]) -> None:
        """Ask, ask again (a worker then gives up its job, and complains, which nobody needs to see), end by force."""
        self._signal(programs, signal.SIGTERM)
        self._wait(programs, PATIENCE_S)
        if busy := [program.name for program in programs if is_running(program)]:
            self.say(f"still busy, ended all the same: {', '.join(busy)}")
            self.muted = True
        for signum in (signal.SIGTERM, signal.SIGKILL):
            self._signal(programs, signum)
            self._wait(programs, FORCED_PATIENCE_S)
        for program in programs:
            self._close_output(program)

    def _signal(self, programs: Sequence[Program], signum: signal.Signals) -> None:
        for program in programs:
            if program.process and is_running(program):
                program.process.send_signal(signum)

    def _wait(self, programs: Sequence[Program], patience_s: float) -> None:
        """Until all have ended; a new request to stop cuts the wait short."""
        deadline, requests = time.monotonic() + patience_s, self.stop_requests
        while any(map(is_running, programs)) and time.monotonic() < deadline and self.stop_requests == requests:
            self.show_output()


def is_running(program: Program) -> bool:
    return program.process is not None and program.process.poll() is None
