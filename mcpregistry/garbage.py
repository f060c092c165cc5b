"""When Python looks for garbage: what a request or a job makes is a few thousand objects, nearly all gone with it."""

import gc

YOUNG = 20_000  # new objects until the youngest are looked through; Python's own measure is 700
OLDER = 20  # times that, until those that outlived one are
OLDEST = 20  # times that, until all are


def collect_rarely() -> None:
    gc.set_threshold(YOUNG, OLDER, OLDEST)
