"""``bodhi_jupyter.usage()``: what was used, as a table in a notebook."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode


def usage(
    *,
    by: str | Iterable[str] = "alias",
    bucket: str = "day",
    since: float | str | None = None,
    until: float | str | None = None,
    url: str | None = None,
    key: str | None = None,
) -> Any:
    """Usage over time, from the Jupyter server beside this kernel.

    Args:
        by: what to split by: ``alias``, ``notebook``, ``client``, ``error`` ...; several as a list or with commas
            between, empty for none.
        bucket: the step, ``hour`` or ``day``.
        since: seconds since the epoch, or an ISO 8601 date or time, in UTC where it names no zone; a week before
            `until` unless given.
        until: the same; now unless given.
        url: the server's base, or its ``/v1``; the server of `connect` unless given.
        key: goes with `url`: a key of ours, or the server's token.

    Returns:
        A pandas DataFrame where pandas is installed, else a list of dicts: one row for each step and split, with
        ``requests``, ``errors``, ``prompt_tokens``, ``completion_tokens`` and ``disconnects``.

    Raises:
        NotebookError: no server is known, it does not answer, or it refuses; the message says which.
    """
    from .client import connect, named_server
    from .management import read_document

    server = connect() if url is None else named_server(url, key)
    asked = {"by": by if isinstance(by, str) else ",".join(by), "bucket": bucket, "since": since, "until": until}
    query = urlencode({name: str(value) for name, value in asked.items() if value is not None})
    found = read_document(server, f"/bodhi/v1/usage?{query}")
    return _table(found["series"], ["start", "time", *found["by"], *found["totals"]])


def _table(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    if importlib.util.find_spec("pandas") is None:
        return rows
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame
