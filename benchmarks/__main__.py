"""``python -m benchmarks``: measure everything that is installed here, and say how it compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .goals import judge
from .measure import SCENARIOS, run
from .report import goals_text, pictures, table_text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"{', '.join(SCENARIOS)}; by default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one round of requests")
    parser.add_argument("--streams", type=int, default=1000, help="how many streams at once for `many`")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each table")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    tables = []
    for table in run(
        lambda line: print(line, file=sys.stderr, flush=True),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        only=set(arguments.only),
        streams_at_once=arguments.streams,
    ):
        print(table_text(table), flush=True, end="\n\n")
        tables.append(table)
    print(goals_text(judge(tables)))
    if arguments.pictures:
        for path in pictures(tables, arguments.pictures):
            print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
