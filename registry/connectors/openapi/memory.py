"""What the last introspection of a document saw, kept so that a call needs neither fetch nor parse it again.

A worker keeps the services it has met by address and content; Redis keeps them for all workers, of which each job of a
forking one is a new one. Without Redis a call fetches the document itself.
"""

import hashlib
import json
import logging
import zlib
from collections import OrderedDict
from collections.abc import Mapping

from django.core.cache import cache
from redis.exceptions import RedisError

from registry.connectors.openapi.operations import Service

KEPT_S = 30 * 24 * 3600
MAX_KNOWN = 16
FORMAT = 2  # of what is kept; another number forgets all
logger = logging.getLogger(__name__)
_known: OrderedDict[tuple[str, str], Service] = OrderedDict()  # (source, digest) →


def source_of(url: str, headers: Mapping[str, str]) -> str:
    """A document that is shown to somebody only is kept for them only."""
    told = json.dumps([FORMAT, url, sorted(headers.items())])
    return hashlib.sha256(told.encode()).hexdigest()


def remember(url: str, headers: Mapping[str, str], digest: str, service: Service) -> None:
    """`headers` are the credentials the document was fetched with, `digest` the hash of its content."""
    source = source_of(url, headers)
    _keep((source, digest), service)
    try:
        cache.set(_key(source, digest), zlib.compress(json.dumps(service.as_json()).encode()), KEPT_S)
        cache.set(_key(source), digest, KEPT_S)
        if headers:
            cache.delete(_key(source_of(url, {})))
    except RedisError as error:
        logger.warning("An OpenAPI document is not remembered: %s", error)


def recall(url: str, headers: Mapping[str, str]) -> Service | None:
    """As the last introspection saw it: with these credentials, or without any."""
    for source in dict.fromkeys([source_of(url, {}), source_of(url, headers)]):
        if service := _recall(source):
            return service
    return None


def _recall(source: str) -> Service | None:
    try:
        digest = cache.get(_key(source))
        if digest is None or (source, digest) in _known:
            return _known.get((source, digest or ""))
        kept = cache.get(_key(source, digest))
    except RedisError as error:
        logger.warning("What is known of an OpenAPI document cannot be read: %s", error)
        return None
    if kept is None:
        return None
    service = Service.of_json(json.loads(zlib.decompress(kept)))
    _keep((source, digest), service)
    return service


def _keep(key: tuple[str, str], service: Service) -> None:
    _known[key] = service
    _known.move_to_end(key)
    while len(_known) > MAX_KNOWN:
        _known.popitem(last=False)


def _key(source: str, digest: str = "latest") -> str:
    return f"openapi:{source}:{digest}"
