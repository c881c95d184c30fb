"""``python -m tools.guide train`` makes the model, ``python -m tools.guide evaluate`` asks it what it never saw."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "bodhi_jupyter" / "models" / "guide.gguf"


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m tools.guide", description=__doc__)
    parser.add_argument("command", choices=["train", "evaluate"])
    parser.add_argument("path", nargs="?", type=Path, default=SHIPPED, help="the model's file")
    arguments = parser.parse_args()
    if arguments.command == "train":
        from .train import train

        train(arguments.path)
        sys.stdout.write(f"{hashlib.sha256(arguments.path.read_bytes()).hexdigest()}  {arguments.path}\n")
    else:
        from .evaluate import evaluate, table

        sys.stdout.write(table(evaluate(arguments.path)))


if __name__ == "__main__":
    main()
