"""The filters beside a list of servers: what there is to choose, how many fit, and the address of each choice."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser, User

from registry.filters import NAMES, counts_of, filter_servers, sources_among
from registry.models import Server
from registry.templatetags.registry_tags import auth_name, health_words, source_name, transport_name

MAX_VALUES = 8
PAGE_SORTS = {"newest": "newest", "name": "name", "health": "health", "tools": "most tools"}  # the first is usual
OWNER_WORDS = {"me": "mine", "shared": "shared with me"}
FACETS: dict[str, tuple[str, Callable[[str], str]]] = {
    "health": ("Health", health_words),
    "source": ("Source", source_name),
    "transport": ("Transport", transport_name),
    "auth_type": ("Sign-in", auth_name),
}


@dataclass(frozen=True, slots=True)
class Value:
    words: str
    count: int
    href: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    title: str
    values: list[Value]


@dataclass(frozen=True, slots=True)
class Choice:
    words: str
    href: str


class Address:
    """The page's address with one filter, or its order, changed."""

    def __init__(self, path: str, chosen: Mapping[str, str], q: str, sort: str = "") -> None:
        self.path, self.chosen, self.q, self.sort = path, chosen, q, sort

    def with_filter(self, name: str, value: str) -> str:
        terms = {"q": self.q, **self.chosen, "sort": self.sort, name: value}
        query = urlencode({name: value for name, value in terms.items() if value})
        return f"{self.path}?{query}" if query else self.path


def chosen_filters(params: Mapping[str, str]) -> dict[str, str]:
    return {name: params[name] for name in NAMES if params.get(name)}


def orders_of_list(address: Address) -> list[Choice]:
    """The address of the list in each order; empty for the one it is in."""
    usual = next(iter(PAGE_SORTS))
    hrefs = {name: address.with_filter("sort", "" if name == usual else name) for name in PAGE_SORTS}
    return [Choice(words, "" if name == (address.sort or usual) else hrefs[name]) for name, words in PAGE_SORTS.items()]


def choices(chosen: Mapping[str, str], address: Address) -> list[Choice]:
    return [Choice(_words(name, value), address.with_filter(name, "")) for name, value in chosen.items()]


def _words(name: str, value: str) -> str:
    if name == "owner":
        return OWNER_WORDS.get(value, value)
    words = FACETS[name][1] if name in FACETS else str
    try:
        return words(value)
    except ValueError:  # not a health we know: nothing is found, and the filter can be taken away
        return value


def facets_of_list(user: User | AnonymousUser, chosen: Mapping[str, str], address: Address) -> list[Facet]:
    """One grouped count a facet, each under the other filters."""
    visible = Server.objects.visible_to(user)
    found = []
    for name in FACETS:
        others = {other: value for other, value in chosen.items() if other != name}
        found.append(_facet(name, counts_of(name, filter_servers(visible, others, user)), chosen, address))
    others = {name: value for name, value in chosen.items() if name != "owner"}
    whose = {
        "me": filter_servers(visible.owned_by(user), others, user).count(),
        "shared": filter_servers(visible.shared_with(user), others, user).count(),
    }
    return [*(facet for facet in found if facet.values), *_owners(whose, chosen, address)]


def facets_of_hits(servers: Iterable[Server], chosen: Mapping[str, str], address: Address) -> list[Facet]:
    """Counted among what a search found."""
    hits = list(servers)
    counts: dict[str, Mapping[str, int]] = {name: Counter(getattr(hit, name) for hit in hits) for name in FACETS}
    counts["source"] = sources_among(hits)
    found = [_facet(name, counts[name], chosen, address) for name in FACETS]
    return [facet for facet in found if facet.values]


def _facet(name: str, counts: Mapping[str, int], chosen: Mapping[str, str], address: Address) -> Facet:
    best: Sequence[tuple[str, int]] = Counter(counts).most_common(MAX_VALUES)
    values = [_value(name, value, count, chosen, address) for value, count in best if value]
    return Facet(FACETS[name][0], values)


def _value(name: str, value: str, count: int, chosen: Mapping[str, str], address: Address) -> Value:
    is_chosen = chosen.get(name) == value
    return Value(_words(name, value), count, address.with_filter(name, "" if is_chosen else value), is_chosen)


def _owners(counts: Mapping[str, int], chosen: Mapping[str, str], address: Address) -> list[Facet]:
    values = [_value("owner", value, count, chosen, address) for value, count in counts.items() if count]
    return [Facet("Owner", values)] if values else []
