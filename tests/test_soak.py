"""What a soak calls a broken promise is one, and what it excuses is excused."""

from typing import Any

import pytest

from bench.soak import promises
from bench.soak.faults import GRACE_S, Fault
from bench.soak.memory import growth_of
from bench.soak.place import CHAT_FILE, Asked
from bench.soak.users import Acknowledged

FAULT = Fault("redis", killed=100.0, back=103.0)


def asked(sent: float, answered: float, status: int = 0) -> Asked:
    return Asked("search", sent, answered, status, "")


@pytest.mark.parametrize(
    ("request_", "is_excused"),
    [
        (asked(101, 102), True),
        (asked(95, 100.5), True),
        (asked(103 + GRACE_S - 0.1, 106, 503), True),
        (asked(103 + GRACE_S + 0.1, 106), False),
        (asked(95, 99, 500), False),
    ],
)
def test_an_error_is_excused_only_while_a_part_is_away(request_: Asked, is_excused: bool) -> None:
    told = promises.unexcused_errors([request_, asked(1, 2, 200)], [FAULT])
    assert len(told) == (0 if is_excused else 1)


def test_a_worker_that_is_away_excuses_no_request_but_a_test_of_a_connection() -> None:
    away = [Fault("worker of runs", 100.0, 103.0), Fault("worker of probes", 100.0, 103.0)]
    test = Asked("healthcheck", 101, 102, 504, "")
    assert len(promises.unexcused_errors([asked(101, 102, 500), test], away)) == 1


def run(status: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": "r", "status": status, "steps": list(steps), "error": None}


def test_a_write_that_is_doubled_or_missing_is_told() -> None:
    chains, runs = {"k": "r", "l": "q"}, {"r": run("succeeded"), "q": run("failed")}
    assert promises.miscounted_writes(["k", CHAT_FILE, CHAT_FILE], chains, runs) == []
    assert promises.miscounted_writes(["k", "k"], chains, runs) == ["k was written 2 times"]
    assert promises.miscounted_writes([], chains, runs) == ["k was never written, and its run succeeded"]


def test_writes_of_chats_are_as_many_as_steps_say() -> None:
    done = {"tool": "write_file", "status": "succeeded", "result": {"text": "wrote 1 characters"}}
    doubt = {"tool": "write_file", "status": "unknown", "result": None}
    chats, runs = [("r", "c")], {"r": run("succeeded", done, doubt)}
    assert promises.miscounted_chat_writes([CHAT_FILE], chats, runs) == []
    assert promises.miscounted_chat_writes([CHAT_FILE] * 2, chats, runs) == []
    assert promises.miscounted_chat_writes([CHAT_FILE] * 3, chats, runs)
    assert promises.miscounted_chat_writes([], chats, runs)


def test_a_run_that_does_not_end_or_is_gone_is_told() -> None:
    acknowledged = Acknowledged(chains={"k": "r"}, chats=[("q", "c")])
    assert promises.lost_runs(acknowledged, {"r": run("succeeded"), "q": run("failed")}) == []
    assert promises.lost_runs(acknowledged, {"r": run("running")}) == ["run r is running", "run q is gone"]


def test_events_with_a_gap_or_a_double_are_told() -> None:
    assert promises.broken_streams([("a", [1, 2, 3]), ("b", [])]) == []
    assert len(promises.broken_streams([("a", [1, 3]), ("b", [1, 1, 2])])) == 2


def test_memory_that_grows_is_told_by_its_slope() -> None:
    flat = growth_of("web", [(second, 100 + second % 2) for second in range(200)])
    leaking = growth_of("chat", [(second, 100 + second / 10) for second in range(200)])
    cache = growth_of("postgres", [(second, 100 + second / 10) for second in range(200)])
    assert round(leaking.slope_mb_h) == 360
    assert promises.growing([flat, leaking, cache]) == ["chat grows by 360 MB an hour"]
