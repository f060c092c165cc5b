"""Search finds by words and by meaning, says how, and sees only what its user may see."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from registry import embeddings
from registry.models import Server, Tool
from registry.prepared import Prepared, Statement, ask
from registry.search import SearchResult, list_filter, search_servers, search_tools
from registry.search.indexing import describe, embed_missing, refresh_terms
from registry.search.scoring import scored
from registry.services import authorise

pytestmark = pytest.mark.django_db

CAST: dict[str, tuple[str, dict[str, str]]] = {
    "io.example/clock": (
        "Time of day around the world",
        {
            "get_current_time": "The time now in a time zone",
            "convert_time": "Convert a time between two zones",
        },
    ),
    "io.example/drive": (
        "Works on a folder of the disk",
        {
            "readFile": "Contents of one document",
            "write_file": "Save text to a document",
            "list_directory": "Names in a folder",
        },
    ),
    "io.example/mailer": ("Electronic mail", {"send_message": "Deliver a letter to somebody's inbox"}),
    "io.example/skyline": ("Will it rain? Temperatures and forecasts", {}),
}


def make_server(name: str, description: str = "", tools: dict[str, str] | None = None, **columns: Any) -> Server:
    columns = {"visibility": "public", "source": "test", "slug": name.rpartition("/")[2], **columns}
    server = Server(name=name, description=description, tool_count=len(tools or {}), **columns)
    describe(server)
    server.save()
    for tool, about in (tools or {}).items():
        text = embeddings.text_of(name=tool, description=about)
        digest = embeddings.content_hash(text)
        Tool.objects.create(server=server, name=tool, description=about, search_text=text, content_hash=digest)
    return server


@pytest.fixture
def cast() -> dict[str, Server]:
    servers = {name.rpartition("/")[2]: make_server(name, *rest) for name, rest in CAST.items()}
    embed_missing()
    return servers


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.embeddings.is_loaded", lambda: False)


def found(q: str, user: User, **filters: str) -> list[str]:
    return [hit.server.slug for hit in search_servers(q, user=user, filters=filters).hits]


# What is found


@pytest.mark.parametrize(
    ("q", "slug"),
    [
        ("current time", "clock"),
        ("what hour is it in Tokyo", "clock"),
        ("write file", "drive"),
        ("readfile", "drive"),
        ("store something on disk", "drive"),
        ("email a colleague", "mailer"),
        ("weather", "skyline"),
        ("tempera", "skyline"),
        ("forcasts", "skyline"),
        ("electornic", "mailer"),
    ],
)
def test_words_beginnings_and_meanings_find_the_right_server(
    q: str, slug: str, cast: dict[str, Server], alice: User
) -> None:
    result = search_servers(q, user=alice)
    assert (result.mode, result.fallback_reason) == ("hybrid", None)
    assert result.hits[0].server == cast[slug]


def test_a_hit_says_which_tools_matched_and_why(cast: dict[str, Server], alice: User) -> None:
    hit = search_servers("convert time", user=alice).hits[0]
    assert hit.matched_tools[0].name == "convert_time"
    assert hit.matched_tools[0].score >= hit.matched_tools[-1].score
    assert "ool names match “convert”" in hit.why


@pytest.mark.parametrize("q", ["drive", "Drive", "io.example/drive", " DRIVE "])
def test_a_server_called_exactly_so_comes_first(q: str, cast: dict[str, Server], alice: User) -> None:
    make_server("io.example/other", "drive drive drive", {"drive": "drive a drive", "drive_drive": "drive"})
    assert found(q, alice)[0] == "drive"


def test_of_servers_called_the_same_the_best_comes_first(alice: User) -> None:
    for number in range(4):
        make_server("weather", "says nothing", slug=f"weather-{number}")
    make_server("weather", "weather today, weather tomorrow", {"weather": "the weather"}, slug="weather-best")
    embed_missing()
    assert found("weather", alice)[0] == "weather-best"


def test_a_server_without_tools_is_found_by_its_own_text(cast: dict[str, Server], alice: User) -> None:
    hit = search_servers("forecasts", user=alice).hits[0]
    assert (hit.server.slug, hit.matched_tools) == ("skyline", [])
    assert "escription matches “forecasts”" in hit.why


def test_a_word_in_every_row_still_finds(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.search.query.MAX_LEXICAL_ROWS", 3)
    monkeypatch.setattr("registry.search.candidates.COMMON_ROWS", 3)
    for number in range(8):
        make_server(f"common-{number}", "server of rare things" if number == 5 else "server")
    refresh_terms()
    assert found("server", alice)
    assert found("rare server", alice)[0] == "common-5"


def test_a_rare_word_counts_more_than_a_common_one(alice: User, no_model: None) -> None:
    for number in range(6):
        make_server(f"one-{number}", "mail")
    make_server("two", "zebra")
    refresh_terms()
    assert found("mail zebra", alice)[0] == "two"


@pytest.mark.parametrize(
    "typed",
    ["forcasts", "forecassts", "forecsats", "forecadts", "Forcast", "temperatres"],
    ids=["a letter missing", "one too many", "two exchanged", "another one", "in capitals", "in the plural"],
)
def test_a_slip_of_the_finger_is_forgiven(typed: str, cast: dict[str, Server], alice: User, no_model: None) -> None:
    assert found(typed, alice) == ["skyline"]
    assert [server.slug for server in list_filter(Server.objects.all(), typed).servers] == ["skyline"]
    assert "matches" in search_servers(typed, user=alice).hits[0].why


def test_a_word_that_is_known_is_not_read_as_another(alice: User, no_model: None) -> None:
    make_server("mails", "mail")
    make_server("mauls", "maul")
    refresh_terms()
    assert found("maul", alice) == ["mauls"]
    assert [server.slug for server in list_filter(Server.objects.all(), "maul").servers] == ["mauls"]


def test_what_is_new_is_found_before_anything_is_indexed(alice: User, no_model: None) -> None:
    make_server("fresh", "Brand new", {"sing_song": "Sings"})
    assert found("song", alice) == ["fresh"]
    assert found("sin", alice) == ["fresh"]


def test_without_words_come_the_newest(cast: dict[str, Server], alice: User) -> None:
    for q in ("", "   ", "!?", "\x00"):
        result = search_servers(q, user=alice)
        assert result.hits[0].server == cast["skyline"]
        assert "Newest first" in result.hits[0].why


@pytest.mark.parametrize(
    "q", ["'; DROP TABLE tools; --", "a & b | !c:*", "\\", "日本語", "é" * 300, "the of and", "x" * 5_000]
)
def test_no_query_breaks_it(q: str, cast: dict[str, Server], alice: User) -> None:
    assert isinstance(search_servers(q, user=alice), SearchResult)
    assert len(search_tools(q, tools=Tool.objects.present()).hits) <= 6
    assert list(list_filter(Server.objects.all(), q).servers) is not None


# How it degrades


def test_without_the_model_it_is_lexical_and_says_so(cast: dict[str, Server], alice: User, no_model: None) -> None:
    result = search_servers("convert a time", user=alice)
    assert result.mode == "lexical"
    assert result.fallback_reason is not None
    assert "model is not loaded" in result.fallback_reason
    assert result.hits[0].server == cast["clock"]


def test_without_embeddings_it_is_lexical_and_says_so(cast: dict[str, Server], alice: User) -> None:
    Tool.objects.update(embedding=None)
    Server.objects.update(embedding=None)
    result = search_servers("time", user=alice)
    assert (result.mode, result.hits[0].server) == ("lexical", cast["clock"])
    assert "embedding" in (result.fallback_reason or "")


def test_a_row_without_an_embedding_is_still_found_by_its_words(cast: dict[str, Server], alice: User) -> None:
    make_server("io.example/kettle", "Boils water", {"boil": "Boil water in a kettle"})
    result = search_servers("boil", user=alice)
    assert (result.mode, result.hits[0].server.slug) == ("hybrid", "kettle")


# Who may see what


def test_private_servers_and_their_tools_are_their_owners_alone(alice: User, bob: User) -> None:
    make_server("diary", "Secret diary", {"read_diary": "Read the diary"}, visibility="private", owner=alice)
    embed_missing()
    assert found("diary", alice) == ["diary"]
    assert found("diary", bob) == []


def test_deleted_servers_and_removed_tools_are_not_found(cast: dict[str, Server], alice: User) -> None:
    Server.objects.filter(slug="mailer").update(status=Server.Status.DELETED)
    Tool.objects.filter(name="convert_time").update(removed_at="2026-01-01T00:00:00Z")
    assert "mailer" not in found("send message", alice)
    hit = search_servers("convert time", user=alice).hits[0]
    assert [tool.name for tool in hit.matched_tools] == ["get_current_time"]


@pytest.mark.parametrize(
    "filters", [{"tag": "green"}, {"transport": "sse"}, {"health": "ok"}, {"source": "elsewhere"}, {"owner": "me"}]
)
def test_filters_narrow_a_search(filters: dict[str, str], cast: dict[str, Server], alice: User) -> None:
    chosen = {"tags": ["green"], "transport": "sse", "health": "ok", "source": "elsewhere", "owner": alice}
    make_server("chosen", "Tells the time", {"tell_time": "Tells the time"}, url="https://a.example", **chosen)
    embed_missing()
    assert found("time", alice, **filters) == ["chosen"]


def test_an_unknown_owner_finds_nothing(cast: dict[str, Server], alice: User) -> None:
    assert found("time", alice, owner="bob") == []


# Tools


def test_tools_are_searched_among_the_given_ones_only(cast: dict[str, Server], alice: User) -> None:
    authorise(user=alice, server=cast["drive"], tools=["write_file"])
    result = search_tools("current time", tools=Tool.objects.authorised_by(alice))
    assert [hit.tool.name for hit in result.hits] == ["write_file"]


def test_tools_come_best_first_with_their_servers(cast: dict[str, Server], django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(8):
        result = search_tools("save a document", tools=Tool.objects.present(), limit=3)
        assert result.hits[0].tool.server.slug == "drive"
    assert result.hits[0].tool.name == "write_file"
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert len(result.hits) == 3


def test_a_search_costs_the_same_queries_whatever_it_finds(
    alice: User, cast: dict[str, Server], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        assert len(search_servers("time", user=alice, limit=1).hits) == 1
    for number in range(30):
        make_server(f"timer-{number}", "time", {"time": "time", "timer": "time"})
    with django_assert_max_num_queries(12):
        assert len(search_servers("time", user=alice, limit=30).hits) == 30


# The list's own q


@pytest.mark.parametrize(
    ("q", "slugs"),
    [
        ("io.example/cl", ["clock"]),
        ("cl", ["clock"]),
        ("c", ["clock"]),
        ("list direct", ["drive"]),
        ("directory", ["drive"]),
        ("temperatures", ["skyline"]),
        ("ZONE", ["clock"]),
        ("unheard", []),
        ("%", []),
    ],
)
def test_a_list_is_narrowed_by_the_beginnings_of_words(q: str, slugs: list[str], cast: dict[str, Server]) -> None:
    assert [server.slug for server in list_filter(Server.objects.all(), q).servers] == slugs


def test_an_empty_q_narrows_no_list(cast: dict[str, Server]) -> None:
    assert list_filter(Server.objects.all(), "").servers.count() == 4


def test_of_equal_tools_the_newest_come_first() -> None:
    for number in range(60):
        make_server(f"io.example/copy-{number}", "", {"convert_time": "Convert a time between two zones"})
    embed_missing()
    newest = list(Tool.objects.order_by("-pk").values_list("pk", flat=True)[:5])
    assert [hit.tool.pk for hit in search_tools("convert time", tools=Tool.objects.all(), limit=5).hits] == newest


def test_no_time_is_compiled_into_a_statement_that_is_kept() -> None:
    old = Server.objects.filter(created_at__lt=timezone.now()).values_list("pk")
    with pytest.raises(ValueError, match="stay the same for ever"):
        Statement.of(old).kept()
    with pytest.raises(ValueError, match="stay the same for ever"):
        Prepared(old)


# Scores


def fuse(words: Sequence[float | None], cosines: Sequence[float | None]) -> list[float]:
    found = "SELECT * FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY AS found (words, cosine, place)"
    columns = [[None if one is None else float(one) for one in column] for column in (words, cosines)]
    rows = ask(f"WITH found AS ({found}), {scored()} SELECT score FROM scored ORDER BY place", columns)
    return [score for (score,) in rows]


def test_fusion_keeps_how_much_better_the_first_hit_is() -> None:
    far_ahead = fuse([10, 1, 1, 1], [0.5, 0.6, 0.4, 0.4])
    assert max(far_ahead) == far_ahead[0]
    narrow = fuse([1.1, 1, 1, 1], [0.2, 0.9, 0.2, 0.2])
    assert max(narrow) == narrow[1]


def test_fusion_takes_distances_from_the_mean_in_standard_deviations() -> None:
    assert fuse([0.0, 4.0], [0.5, 0.1]) == pytest.approx([0.6 - 0.4, 0.4 - 0.6])
    assert fuse([0.0, 4.0, 2.0], [0.5, None, 0.1]) == pytest.approx([0.6 - 0.4 * 1.5**0.5, 0.4 * 1.5**0.5, -0.6])
    assert fuse([3.0, 3.0], [0.5, 0.1]) == pytest.approx([0.6, -0.6])
    assert fuse([3.0], [0.5]) == [0.0]


def test_fusion_without_vectors_is_bm25_alone() -> None:
    assert fuse([3.0, 1.0], [None, None]) == [3.0, 1.0]
    assert fuse([], []) == []
