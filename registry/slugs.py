"""Short names for addresses and plans: stable, unique, and never a word the addresses need themselves."""

import hashlib
from collections.abc import Iterable

from django.db.models import Q
from django.utils.text import slugify

from registry.models import Server

MAX_CHARACTERS = 100
RESERVED = frozenset({"new", "search", "tools", "suggestions"})


def slug_choices(name: str, key: str = "") -> list[str]:
    """From the nicest to one that nobody else has: the last part of the name, with its namespace, with a hash."""
    namespace, _, last = name.rpartition("/")
    short = slugify(last.replace(".", "-").replace("_", "-"))
    owner = slugify(namespace.rpartition(".")[2])
    digest = hashlib.sha256((key or name).encode("utf-8", "replace")).hexdigest()[:8]
    longer = f"{owner}-{short}" if owner and short else ""
    hashed = f"{short[: MAX_CHARACTERS - 9] or 'server'}-{digest}"
    return [slug[:MAX_CHARACTERS] for slug in (short, longer, hashed) if slug and slug not in RESERVED]


def free_slugs(names: Iterable[tuple[str, str]]) -> list[str]:
    """One slug for each (name, key), none twice and none taken, found with one query."""
    choices = [slug_choices(name, key) for name, key in names]
    wanted = [slug for each in choices for slug in each]
    holders = Server.objects.filter(Q(slug__in=wanted) | Q(former_slugs__overlap=wanted))
    held = holders.values_list("slug", "former_slugs") if wanted else []
    taken = {slug for current, former in held for slug in (current, *former)}
    slugs = []
    for each in choices:
        slug = next((slug for slug in each if slug not in taken), each[-1])
        taken.add(slug)
        slugs.append(slug)
    return slugs
