"""Another server's process: writes aliases as fast as it can. Usage: alias_writer.py FOLDER NAME WRITES."""

import sys
from pathlib import Path

from bodhi_jupyter.catalog.store import AliasChanged, AliasExists, AliasStore


def main(folder: Path, name: str, writes: int) -> None:
    store = AliasStore([folder], folder)
    for number in range(writes):
        if number % 10 == 0 and number < 500:
            _create(store, f"{name}:{number // 10}")
        else:
            increment(store)
        if number == 1:
            print("writing", flush=True)


def _create(store: AliasStore, name: str) -> None:
    try:
        store.create({"alias": name, "path": "m.gguf"})
    except AliasExists:  # made by a predecessor that was killed
        store.update(name, {"path": "m.gguf"})


def increment(store: AliasStore) -> None:
    """Count one more in the description of `counter`, whoever else does."""
    while True:
        seen = store.get("counter")
        changed = seen.file.document | {"description": str(int(seen.file.description) + 1)}
        try:
            store.update("counter", changed, if_match={seen.etag})
        except AliasChanged:
            continue
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
