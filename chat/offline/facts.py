"""What a message gives to fill arguments with: quoted text, addresses, files, dates, numbers, time zones."""

import re
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

from django.utils import timezone

from chat.offline.words import quotations

Kind = Literal["quoted", "url", "email", "file", "folder", "date", "time", "number", "zone", "name", "pattern"]

_URL = re.compile(r"https?://[^\s<>\"'“”]+[^\s<>\"'“”.,;:!?)\]]", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_FILE = re.compile(r"(?<![\w@/.])(?:[\w~.-]{0,100}/){0,20}[\w-][\w.-]{0,100}\.[A-Za-z][A-Za-z0-9]{0,7}(?![\w/])")
_FOLDER = re.compile(r"(?<![\w@.])(?:~|\.{1,2})?/[\w./-]+")
_PATTERN = re.compile(r"(?<!\S)[\w./-]*\*[\w./*-]*")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)?")
_YEAR_OF_MONTHS = "january february march april may june july august september october november december"
_MONTH_NAMES = _YEAR_OF_MONTHS.split()
_MONTHS = {name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MONTH = rf"(?P<month>(?:{'|'.join(_MONTHS)})[a-z]*)\.?"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>\d{4}))?"
_SPOKEN_DATES = (
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}\b", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}\s+{_DAY}{_YEAR}\b", re.IGNORECASE),
)
_NEAR_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_NEAR_DAY = re.compile(rf"\b(?:{'|'.join(_NEAR_DAYS)})\b", re.IGNORECASE)
_TIME = re.compile(
    r"\b([01]?\d|2[0-3]):([0-5]\d)(?!\d)(?:\s?([ap])\.?m\b)?|\b(1[0-2]|[1-9])\s?([ap])\.?m\b", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_ZONE_WORDS = re.compile(r"[^\W\d_]+(?:[/_+-][^\W_]+)*")
_NAME = re.compile(r"(?:\b(?:in|for|of|about|at|near|from|to|named|called)\s+)((?:[A-Z][\w'-]*)(?:\s+[A-Z][\w'-]*)*)")
_AREA_NAMES = "Africa America Antarctica Arctic Asia Atlantic Australia Europe Indian Pacific"
_AREAS = frozenset(_AREA_NAMES.split())
_ZONE_NAME_WORDS = 3
MAX_FACTS = 100  # of one kind


@dataclass(frozen=True, slots=True)
class Fact:
    kind: Kind
    value: str
    start: int
    end: int
    before: str = ""  # the word before it: from, to, in …


@dataclass(frozen=True, slots=True)
class Facts:
    text: str
    found: tuple[Fact, ...] = ()
    rest: str = field(default="", compare=False)  # the text without them

    def of(self, *kinds: Kind) -> list[Fact]:
        return [fact for fact in self.found if fact.kind in kinds]

    def without(self, used: Iterable[Fact]) -> "Facts":
        used = set(used)
        return replace(self, found=tuple(fact for fact in self.found if fact not in used))


def facts_in(text: str) -> Facts:
    """Every fact once, in order; what one reader took the next does not see."""
    left, found = text, []
    for read in _READERS:
        for fact in read(left)[:MAX_FACTS]:
            found.append(replace(fact, before=_word_before(text, fact.start)))
            left = left[: fact.start] + " " * (fact.end - fact.start) + left[fact.end :]
    found.sort(key=lambda fact: fact.start)
    names = [Fact("name", match[1], match.start(1), match.end(1)) for match in _NAME.finditer(text)]
    return Facts(text, (*found, *names), left)


def _word_before(text: str, position: int) -> str:
    words = re.findall(r"\w+", text[max(0, position - 40) : position])
    return words[-1].lower() if words else ""


def _quoted(text: str) -> list[Fact]:
    return [Fact("quoted", match[0][1:-1], match.start(), match.end()) for match in quotations(text)]


def _matching(kind: Kind, pattern: re.Pattern[str]) -> Callable[[str], list[Fact]]:
    return lambda text: [Fact(kind, match[0], match.start(), match.end()) for match in pattern.finditer(text)]


def _spoken_dates(text: str) -> list[Fact]:
    """ "24 December 2026", "May 3rd", "tomorrow" as YYYY-MM-DD; a day without a year is the next one, in UTC."""
    today, found = timezone.now().date(), []
    for match in [match for pattern in _SPOKEN_DATES for match in pattern.finditer(text)]:
        if value := _date_of(match, today):
            found.append(Fact("date", value, match.start(), match.end()))
    for match in _NEAR_DAY.finditer(text):
        day = today + timedelta(days=_NEAR_DAYS[match[0].lower()])
        found.append(Fact("date", day.isoformat(), match.start(), match.end()))
    return found


def _date_of(match: re.Match[str], today: date) -> str:
    """Empty for the 31st of February and for words that only begin like a month."""
    name = match["month"].lower()
    if not _MONTH_NAMES[_MONTHS[name[:3]] - 1].startswith(name) and name != "sept":
        return ""
    try:
        day = date(int(match["year"] or today.year), _MONTHS[name[:3]], int(match["day"]))
        is_past = match["year"] is None and day < today
        return (day.replace(year=day.year + 1) if is_past else day).isoformat()
    except ValueError:
        return ""


def _times(text: str) -> list[Fact]:
    return [Fact("time", _clock(match), match.start(), match.end()) for match in _TIME.finditer(text)]


def _clock(match: re.Match[str]) -> str:
    """HH:MM on the 24-hour clock: "2pm" is 14:00."""
    hour, minute, half = int(match[1] or match[4]), match[2] or "00", (match[3] or match[5] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour:02d}:{minute}"


def _zones(text: str) -> list[Fact]:
    """Cities and zones by name, the longest first: "New York" before "York"."""
    words = list(_ZONE_WORDS.finditer(text))
    found: list[Fact] = []
    position = 0
    while position < len(words):
        longest = min(_ZONE_NAME_WORDS, len(words) - position)
        length = next((n for n in range(longest, 0, -1) if _zone(words[position : position + n], text)), 0)
        if length:
            first, last = words[position], words[position + length - 1]
            zone = _zone(words[position : position + length], text)
            found.append(Fact("zone", zone, first.start(), last.end()))
        position += length or 1
    return found


def _zone(words: list[re.Match[str]], text: str) -> str:
    said = text[words[0].start() : words[-1].end()]
    key = " ".join(said.replace("_", " ").split()).lower()
    zone = zone_names().get(key, "")
    plain = "/" not in said and "_" not in said
    return "" if plain and not said[0].isupper() and len(key) < 4 else zone


@lru_cache(maxsize=1)
def zone_names() -> dict[str, str]:
    """What people call a time zone, in lower case → its IANA name: by city, by the name itself, UTC."""
    names: dict[str, str] = {}
    zones = zoneinfo.available_timezones()
    for zone in sorted(zones, key=lambda name: (name.count("/"), name), reverse=True):
        area, _, place = zone.partition("/")
        if area in _AREAS and place:
            names[place.rpartition("/")[2].replace("_", " ").lower()] = zone
    names |= {zone.replace("_", " ").lower(): zone for zone in zones if "/" in zone}
    return names | {name.lower(): "UTC" for name in ("UTC", "GMT") if "UTC" in zones}


_READERS: tuple[Callable[[str], list[Fact]], ...] = (
    _quoted,
    _matching("url", _URL),
    _matching("email", _EMAIL),
    _matching("pattern", _PATTERN),
    _matching("file", _FILE),  # before the zones: tokyo.txt is no city
    _matching("folder", _FOLDER),
    _zones,
    _matching("date", _DATE),
    _spoken_dates,
    _times,
    _matching("number", _NUMBER),
)
