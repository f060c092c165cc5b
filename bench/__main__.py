"""`make bench`: measure, print a table, and with --append keep it in docs/benchmarks.md.

BENCH_ARGS="chain search --append" chooses; without names everything is measured.
"""

import argparse
import datetime
from pathlib import Path

from bench import MEASURES
from bench.machine import machine
from bench.measure import Figures, Measure

BOOK = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = "| measure | unit | n | min | median | p95 | max |\n| --- | --- | --- | --- | --- | --- | --- |"


def main() -> None:
    options = arguments()
    if options.list:
        print("\n".join(f"{measure.name:<14}{measure.what}" for measure in MEASURES.values()))
        return
    chosen = [MEASURES[name] for name in options.names or MEASURES]
    print(f"{machine()}\n\n{HEAD}", flush=True)
    taken = [take(measure, options.repeat) for measure in chosen]
    if options.append:
        append([row for row, _ in taken], [line for _, more in taken for line in more])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--repeat", type=int, help="instead of each measure's own number")
    parser.add_argument("--append", action="store_true", help=f"add the table to {BOOK.name}")
    parser.add_argument("--list", action="store_true", help="say what can be measured")
    return parser.parse_args()


def take(measure: Measure, repeat: int | None) -> tuple[str, list[str]]:
    """Its row of the table, and what else it has to say."""
    taken = measure.take(repeat or measure.repeat)
    values, more = taken if isinstance(taken, tuple) else (taken, [])
    figures = Figures.of(values)
    numbers = (figures.minimum, figures.median, figures.p95, figures.maximum)
    row = (
        f"| {measure.name}: {measure.what} | {measure.unit} | {figures.count} | "
        + " | ".join(map(three_digits, numbers))
        + " |"
    )
    print("\n".join([row, *more]), flush=True)
    return row, more


def three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def append(rows: list[str], more: list[str]) -> None:
    today = datetime.date.today().isoformat()
    known = BOOK.read_text() if BOOK.exists() else "# Benchmarks\n\nMeasured by `make bench`, newest last.\n"
    table = "\n".join([HEAD, *rows, *more])
    BOOK.write_text(f"{known}\n## {today}\n\n{machine()}\n\n{table}\n")


if __name__ == "__main__":
    main()
