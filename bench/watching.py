"""Many viewers of running chains, in a process of its own: `python -m bench.watching`, told on standard input.

Half of them hold a websocket, half an event stream. Prints one JSON line: the milliseconds from each event's time to
its arrival, of those that came when everybody watched, how many events a viewer lost or saw twice, and how many lines
were opened again.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import datetime
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

PAUSE_S = 0.2
LAST = ("RUN_FINISHED", "RUN_ERROR")


class Watch:
    """What one viewer saw: (seq, time of the event, time of its arrival), the times in seconds."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.seen: list[tuple[int, float, float]] = []
        self.lines = 0
        self.ended = False

    @property
    def after(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    async def follow(self, texts: AsyncIterator[str | bytes]) -> None:
        self.lines += 1
        async for text in texts:
            arrived = time.time()
            event = json.loads(text)
            self.seen.append((event["seq"], datetime.fromisoformat(event["at"]).timestamp(), arrived))
            if event["type"] in LAST:
                self.ended = True
                return


async def over_websocket(watch: Watch, place: dict[str, Any]) -> None:
    url = f"ws://127.0.0.1:{place['port']}/ws/runs/{watch.run_id}?after={watch.after}"
    headers = {"Cookie": place["cookie"], "Origin": f"http://127.0.0.1:{place['port']}"}
    async with connect(url, additional_headers=headers, compression=None, open_timeout=60, proxy=None) as socket:
        await watch.follow(aiter(socket))


async def over_sse(watch: Watch, place: dict[str, Any]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place["port"])
    with closing(writer):
        path = f"/chat/{watch.run_id}/stream?after={watch.after}"
        asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {place['token']}\r\n\r\n"
        writer.write(asked.encode())
        await watch.follow(data_lines(reader))


async def data_lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    async for line in reader:
        if line.startswith(b"data:"):
            yield line[5:]


async def until_ended(watch: Watch, way: Callable[..., Awaitable[None]], place: dict[str, Any]) -> None:
    """A line that breaks, or is refused, is opened again, as browsers do."""
    while not watch.ended:
        try:
            await way(watch, place)
        except (OSError, WebSocketException) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if not watch.ended:
            await asyncio.sleep(PAUSE_S)


async def watch_all(place: dict[str, Any]) -> dict[str, Any]:
    watches = [Watch(run_id) for run_id in place["runs"] for _ in range(place["viewers"])]
    ways = (over_websocket, over_sse)
    tasks = [asyncio.create_task(until_ended(watch, ways[n % 2], place)) for n, watch in enumerate(watches)]
    while not all(watch.seen for watch in watches):
        await asyncio.sleep(0.05)
    ready = time.time()
    await asyncio.gather(*tasks)
    late = [(arrived - at) * 1000 for watch in watches for _, at, arrived in watch.seen if at > ready]
    again = sum(watch.lines - 1 for watch in watches)
    return {"ms": late, "lost": sum(map(lost, watches)), "doubled": sum(map(doubled, watches)), "again": again}


def lost(watch: Watch) -> int:
    seqs = {seq for seq, _, _ in watch.seen}
    return max(seqs) - len(seqs)


def doubled(watch: Watch) -> int:
    return len(watch.seen) - len({seq for seq, _, _ in watch.seen})


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch_all(json.load(sys.stdin)))))
