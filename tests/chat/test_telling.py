"""Pieces of many answers, written down together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, connection, transaction

from chains import events, leases
from chains.events import Piece
from chains.leases import LostLease
from chains.models import Run
from chains.services import start_run
from chat import telling

pytestmark = pytest.mark.django_db(transaction=True)
PIECE = "TEXT_MESSAGE_CONTENT"


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[telling.Teller]:
    teller = telling.Teller()
    monkeypatch.setattr(telling, "_tellers", [teller])
    yield teller
    teller.close()


def held_run(owner: User) -> tuple[Run, int]:
    run = start_run(user=owner, plan=None, kind=Run.Kind.CHAT)
    claimed = leases.claim(run.pk)
    assert claimed is not None
    return run, claimed.lease_token


def told(run: Run) -> list[str]:
    return [event.data["delta"] for event in run.events.filter(type=PIECE)]


def test_many_tell_at_once_and_each_run_has_its_pieces_in_order(alice: User, together: telling.Teller) -> None:
    runs = [held_run(alice) for _ in range(8)]

    def talk(run: Run, token: int) -> None:
        for number in range(10):
            telling.tell(run.pk, PIECE, {"delta": str(number)}, lease_token=token)
        connection.close()

    with ThreadPoolExecutor(len(runs)) as threads:
        list(threads.map(lambda held: talk(*held), runs))
    for run, _ in runs:
        assert told(run) == [str(number) for number in range(10)]
        run.refresh_from_db()
        assert [event.seq for event in run.events.all()] == list(range(1, run.last_seq + 1))


def test_who_lost_the_run_writes_nothing(alice: User, together: telling.Teller) -> None:
    run, token = held_run(alice)
    with pytest.raises(LostLease):
        telling.tell(run.pk, PIECE, {"delta": "too late"}, lease_token=token - 1)
    assert told(run) == []


def test_a_run_that_somebody_locks_holds_up_no_other(alice: User, together: telling.Teller) -> None:
    (locked, its_token), (free, token) = held_run(alice), held_run(alice)

    def tell(run: Run, lease_token: int) -> None:
        telling.tell(run.pk, PIECE, {"delta": "said"}, lease_token=lease_token)
        connection.close()

    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=locked.pk)
            waits = threads.submit(tell, locked, its_token)
            threads.submit(tell, free, token).result(10)
            assert told(free) == ["said"]
            assert not waits.done()
        waits.result(10)
    assert told(locked) == ["said"]


def test_a_former_holder_of_a_run_says_nothing_beside_the_present_one(alice: User) -> None:
    run, token = held_run(alice)
    late, timely = (Piece(run.pk, held, PIECE, {"delta": str(held)}) for held in (token - 1, token))
    assert events.publish_each([late, timely]) == {(run.pk, token)}
    assert told(run) == [str(token)]


@pytest.mark.parametrize("error", [InterfaceError("the connection is closed"), ValueError("nobody foresaw it")])
def test_what_cannot_be_written_is_told_and_silences_nobody_after_it(
    alice: User, together: telling.Teller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run, token = held_run(alice)

    def broken(pieces: Sequence[Piece]) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("chat.telling.events.publish_each", broken)
        with pytest.raises(type(error)):
            telling.tell(run.pk, PIECE, {"delta": "lost"}, lease_token=token)
    telling.tell(run.pk, PIECE, {"delta": "heard"}, lease_token=token)
    assert told(run) == ["heard"]
