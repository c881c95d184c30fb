"""How the model for vectors is made and measured.

``train`` makes it, ``evaluate`` asks it what it never saw, and ``generalise`` asks models that lack some topics.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "bodhi_jupyter" / "models" / "guide-embed.gguf"


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m tools.embed", description=__doc__)
    parser.add_argument("command", choices=["train", "evaluate", "generalise"])
    parser.add_argument("path", nargs="?", type=Path, default=SHIPPED, help="the model's file")
    arguments = parser.parse_args()
    if arguments.command == "train":
        from .train import train

        train(arguments.path)
        sys.stdout.write(f"{hashlib.sha256(arguments.path.read_bytes()).hexdigest()}  {arguments.path}\n")
        return
    from .evaluate import evaluate, generalise, table

    sys.stdout.write(table(generalise() if arguments.command == "generalise" else evaluate(arguments.path)))


if __name__ == "__main__":
    main()
