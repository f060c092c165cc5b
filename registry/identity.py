"""When are two records the same server? By keys they share: a remote's address, a package, a place in a repository.

A key is text, `url:…`, `pkg:…` or `repo:…`. An address always links. A package or a repository links only where it says
which server is meant: not where one catalogue lists it twice, and a repository not where its records name different
packages. What is linked depends on the set of records alone, never on the order they came in.
"""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from registry.secrets import is_secret

MAX_KEYS = 20
BOUND = "same:"  # of a key that a curator gave to records: they are one server whatever else they say
MAX_KEY_CHARACTERS = 512
BRIDGES = frozenset({"mcp-remote", "mcp-proxy", "supergateway", "mcp-server", "mcp"})  # they start any server
_GIT_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
_TREE = re.compile(r"/(?:-/)?(?:tree|blob|src/branch)/[^/]+/?(?P<folder>.*)$")

Item = TypeVar("Item", bound=Hashable)


class Listed(Protocol):
    """A record as linking sees it."""

    @property
    def source(self) -> str: ...

    @property
    def identity(self) -> Sequence[str]: ...


def keys_of(
    *,
    urls: Iterable[str] = (),
    packages: Iterable[tuple[str, str]] = (),
    repository: str = "",
    folder: str = "",
) -> tuple[str, ...]:
    """The keys of one record; packages are (registry, name)."""
    keys = [
        *(url_key(url) for url in urls),
        *(package_key(registry, name) for registry, name in packages),
        repository_key(repository, folder),
    ]
    return tuple(sorted({key for key in keys if key and len(key) <= MAX_KEY_CHARACTERS}))[:MAX_KEYS]


def url_key(url: str) -> str:
    """Without what does not tell servers apart: scheme, case of the host, usual port, last slash, secrets. Empty for
    a template and for an address that means another machine to everybody."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    if not _is_public_name(host):
        return ""
    at = f":{port}" if port not in (None, 80, 443) else ""
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query) if not is_secret(pair[0])))
    key = f"url:{host}{at}{parts.path.rstrip('/')}{'?' if query else ''}{query}"
    return "" if re.search(r"[{$]|%7B|%24", key) else key


def _is_public_name(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".localhost", ".internal"))


def package_key(registry: str, name: str) -> str:
    """As its registry compares names; a container image without tag and digest."""
    name = name.strip().lower()
    if registry in {"oci", "docker"}:
        registry, name = "oci", _image(name)
    elif registry == "pypi":
        name = re.sub(r"[-_.]+", "-", name)
    elif registry not in {"npm", "nuget", "cargo"}:
        return ""
    return f"pkg:{registry}:{quote(name, safe='@/.-_:')}" if name and name not in BRIDGES else ""


def _image(name: str) -> str:
    name = name.partition("@")[0].removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition(':')[0]}".lstrip("/")


def repository_key(address: str, folder: str = "") -> str:
    """`repo:host/owner/name#folder` from a web or a git address; a link into a tree names the folder itself."""
    address = re.sub(
        r"^git\+|^git@([^:/]+):", lambda found: f"https://{found[1]}/" if found[1] else "", address.strip()
    )
    address = re.sub(r"^(?:git|ssh)://(?:git@)?", "https://", address)
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return ""
    if host not in _GIT_HOSTS:
        return ""
    tree = _TREE.search(parts.path)
    path = (parts.path[: tree.start()] if tree else parts.path).strip("/").removesuffix(".git").lower()
    owner, _, name = path.partition("/")
    if not owner or not name or (host == "github.com" and "/" in name):
        return ""
    inside = (folder or (tree["folder"] if tree else "")).strip("/").removeprefix("./").rstrip(".").strip("/")
    return f"repo:{host}/{path}#{re.sub(r'/README.md$', '', inside, flags=re.I)}"


def groups(records: Mapping[Item, Listed], others: Iterable[Listed] = ()) -> list[list[Item]]:
    """Which of the records are one server, each group in the order given. `others` are further records that hold some
    of the same keys: they only tell which repositories do not identify."""
    holders: dict[str, list[Item]] = defaultdict(list)
    for item, record in records.items():
        for key in record.identity:
            holders[key].append(item)
    vague = _vague([*records.values(), *others])
    parent: dict[Item, Item] = {item: item for item in records}
    for key, items in holders.items():
        if key not in vague:
            for item in items[1:]:
                parent[_root(parent, item)] = _root(parent, items[0])
    found: dict[Item, list[Item]] = defaultdict(list)
    for item in records:
        found[_root(parent, item)].append(item)
    return list(found.values())


def _root(parent: dict[Item, Item], item: Item) -> Item:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


def _vague(records: Iterable[Listed]) -> set[str]:
    """Packages and repositories that do not tell servers apart: several of one catalogue have it in common, or a
    repository holds several packages."""
    seen: set[tuple[str, str]] = set()
    packages: dict[tuple[str, str], set[str]] = defaultdict(set)
    vague: set[str] = set()
    for record in records:
        named = [key for key in record.identity if key.startswith("pkg:")]
        for key in (key for key in record.identity if key.startswith(("pkg:", "repo:"))):
            if (key, record.source) in seen:
                vague.add(key)
            seen.add((key, record.source))
            if key.startswith("repo:"):
                for package in named:
                    packages[key, package.split(":")[1]].add(package)
    return vague | {key for (key, _), names in packages.items() if len(names) > 1}
