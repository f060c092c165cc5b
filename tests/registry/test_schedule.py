"""Servers are tested without being asked: when, by whom, and who comes first."""

from datetime import timedelta
from io import StringIO

import django_rq
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from registry import schedule
from registry.credentials import encrypt
from registry.jobs import probe_batch, probe_server, schedule_probes
from registry.models import Connection, Health, HealthCheck, Server
from registry.probes import ProbeOutcome
from registry.services import authorise, delete_server, record_probe
from registry.services.batches import probe_side_by_side
from tests.conftest import WorkerByHand
from tests.toys import Toy

pytestmark = pytest.mark.django_db
HALF_AN_HOUR = timedelta(minutes=30)


def server_at(url: str = "https://a.example/mcp", slug: str = "a", *, due: bool = True, **fields: object) -> Server:
    told = {"transport": "streamable_http", "visibility": "public"} | fields
    when = timezone.now() - timedelta(minutes=1) if due else timezone.now() + timedelta(minutes=1)
    return Server.objects.create(slug=slug, name=slug, url=url, next_probe_at=when, **told)


def claimed() -> list[str]:
    return [server.slug for server in schedule.claim_due(10)]


def found(server: Server, health: Health) -> timedelta:
    """Record it, and say after how long the server is tested again."""
    record_probe(server=server, outcome=ProbeOutcome(health, "Said so."))
    return server.next_probe_at - timezone.now()


def test_what_is_due_is_claimed_once(alice: User) -> None:
    server_at(slug="due")
    server_at(slug="later", due=False)
    assert (claimed(), claimed()) == (["due"], [])


def test_the_deleted_and_the_unreachable_by_kind_are_never_due() -> None:
    delete_server(server=server_at(slug="gone", source="official"))
    server_at("", slug="nowhere", transport="", source="official")
    assert claimed() == []


def test_a_command_is_started_unasked_only_where_somebody_connected_it(staff: User) -> None:
    command = server_at("", slug="clock", transport="stdio", command="no-such-command", owner=staff)
    assert claimed() == []
    authorise(user=staff, server=command)
    assert claimed() == ["clock"]


def test_failures_back_off_to_a_day_and_an_answer_ends_that(alice: User) -> None:
    server = server_at(owner=alice)
    waits = []
    for _ in range(8):
        Server.objects.update(next_probe_at=timezone.now())
        assert claimed() == ["a"]
        waits.append(found(server, Health.UNREACHABLE))
    assert waits[0] < timedelta(hours=1.3) < waits[2] < waits[4] <= timedelta(days=1.2)
    assert waits[-1] > timedelta(hours=19)
    assert HALF_AN_HOUR * 0.75 < found(server, Health.OK) < HALF_AN_HOUR * 1.25


def test_a_sign_in_is_no_failure_and_what_nobody_uses_is_tested_less_often() -> None:
    server = server_at()
    assert found(server, Health.NEEDS_AUTH) > timedelta(hours=9)
    assert server.probe_failures == 0


def test_who_authorises_a_server_has_it_tested_more_often(alice: User) -> None:
    server = server_at()
    found(server, Health.OK)
    authorise(user=alice, server=server)
    server.refresh_from_db()
    assert server.next_probe_at < timezone.now() + HALF_AN_HOUR * 1.25


def test_a_server_that_takes_its_worker_down_is_tried_less_and_less(alice: User) -> None:
    server = server_at(owner=alice)
    for _ in range(3):
        Server.objects.update(next_probe_at=timezone.now())
        claimed()
    server.refresh_from_db()
    assert server.probe_failures == 3
    assert server.next_probe_at > timezone.now() + timedelta(hours=3)


@pytest.mark.django_db(transaction=True)
def test_what_is_due_is_enqueued_in_batches_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.services.probing.BATCH_SIZE", 50)
    for number in range(120):
        server_at(slug=f"s{number}")
    assert schedule_probes() == 120
    jobs = django_rq.get_queue("probes").jobs
    assert [len(job.args[0]) for job in jobs if job.func_name == "registry.jobs.probe_batch"] == [50, 50, 20]
    for _ in range(3):
        django_rq.get_queue("probes").enqueue("time.time")
    server_at(slug="one-more")
    assert schedule_probes() == 0


@pytest.mark.django_db(transaction=True)
def test_a_batch_tests_the_living_the_dead_and_the_silent_side_by_side(
    toy_text: Toy, toy_silent: Toy, toy_auth: Toy, worker: WorkerByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.batches.PATIENCE_S", 2)
    urls = {
        "ok": toy_text.url,
        "timeout": toy_silent.url,
        "needs_auth": toy_auth.url,
        "unreachable": "http://127.0.0.1:9",
    }
    for slug, url in urls.items():
        server_at(url, slug=slug)
    schedule_probes()
    worker.run("probes")
    assert all(server.health == server.slug for server in Server.objects.all())
    assert HealthCheck.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_a_batch_makes_way_for_somebody_who_waits(toy_silent: Toy) -> None:
    server = server_at(toy_silent.url)
    assert claimed() == ["a"]
    django_rq.get_queue("probes").enqueue("time.time", job_id=f"probe-{server.pk}-1", at_front=True)
    began = timezone.now()
    probe_batch([str(server.pk)])
    assert timezone.now() - began < timedelta(seconds=5)
    assert (claimed(), HealthCheck.objects.count()) == (["a"], 0)


def test_a_private_server_is_tested_with_its_owners_credentials(toy_auth: Toy, alice: User) -> None:
    server = server_at(toy_auth.url, owner=alice, visibility="private", auth_type="bearer")
    Connection.objects.create(
        user=alice, server=server, all_tools=False, credentials_encrypted=encrypt({"Authorization": "sesame"})
    )
    probe_side_by_side([server.pk])
    server.refresh_from_db()
    assert server.health == "ok"


def test_a_server_deleted_while_it_is_tested_stops_nothing(toy_text: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, kept = server_at(toy_text.url), server_at(toy_text.url, slug="kept")
    real = record_probe

    def deletes_first(**told: object) -> object:
        Server.objects.filter(pk=gone.pk).delete()
        return real(**told)

    monkeypatch.setattr("registry.services.batches.record_probe", deletes_first)
    probe_side_by_side([gone.pk, kept.pk])
    assert list(Server.objects.values_list("slug", "health")) == [("kept", "ok")]


def test_the_command_tests_by_the_same_code_and_prints_what_it_found(toy_text: Toy) -> None:
    server_at(toy_text.url, slug="living")
    server_at("http://127.0.0.1:9/mcp", slug="dead")
    out = StringIO()
    call_command("probe_servers", "--now", stdout=out)
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == [
        "dead: unreachable", "living: ok", "tested 2",
    ]  # fmt: skip


def test_old_checks_go_as_new_ones_come(monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_at()
    monkeypatch.setattr("registry.services.recording.KEPT_CHECKS", 5)
    for days in (1, 2, 3, 4, 5, 6, 100):
        HealthCheck.objects.create(server=server, health="ok", checked_at=timezone.now() - timedelta(days=days))
    found(server, Health.OK)
    ages = [(timezone.now() - check.checked_at).days for check in HealthCheck.objects.order_by("-checked_at")]
    assert ages == [0, 1, 2, 3, 4]


# Whose health it is


def connected(user: User, server: Server, secret: str) -> Connection:
    authorise(user=user, server=server, credentials={"Authorization": secret})
    return Connection.objects.get(user=user, server=server)


def test_bad_credentials_of_one_user_change_nothing_for_others(alice: User, toy_auth: Toy) -> None:
    server = server_at(toy_auth.url, health="ok")
    connection = connected(alice, server, "wrong")
    probe_server(str(server.pk), alice.pk)
    server.refresh_from_db()
    connection.refresh_from_db()
    assert (server.health, connection.health) == ("ok", "needs_auth")
    assert connection.speaks_for(server)
    assert HealthCheck.objects.get().user == alice


def test_a_401_is_a_sign_in_and_good_credentials_are_ones_own_matter(alice: User, toy_auth: Toy) -> None:
    server = server_at(toy_auth.url, auth_type="bearer")
    probe_server(str(server.pk))
    connection = connected(alice, server, "sesame")
    probe_server(str(server.pk), alice.pk)
    server.refresh_from_db()
    connection.refresh_from_db()
    assert (server.health, connection.health) == ("needs_auth", "ok")
    assert server.tools.exists()


def test_new_credentials_make_a_new_test_necessary(alice: User, toy_auth: Toy) -> None:
    server = server_at(toy_auth.url, auth_type="bearer")
    connected(alice, server, "wrong")
    probe_server(str(server.pk), alice.pk)
    assert connected(alice, server, "sesame").health == "untested"


def test_the_owner_speaks_for_the_server(alice: User, bob: User, toy_auth: Toy) -> None:
    server = server_at(toy_auth.url, owner=alice, auth_type="bearer")
    connected(alice, server, "sesame")
    probe_server(str(server.pk), alice.pk)
    probe_server(str(server.pk), bob.pk)
    server.refresh_from_db()
    assert (server.health, HealthCheck.objects.shared().count()) == ("ok", 1)
    assert HealthCheck.objects.get(user=bob).health == "needs_auth"


def test_anybodys_look_without_credentials_is_everybodys(bob: User, toy_text: Toy) -> None:
    server = server_at(toy_text.url)
    probe_server(str(server.pk), bob.pk)
    server.refresh_from_db()
    assert (server.health, HealthCheck.objects.shared().count()) == ("ok", 1)
