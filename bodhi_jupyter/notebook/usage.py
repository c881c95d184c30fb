"""``bodhi_jupyter.usage()``: what was used, as a table in a notebook."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

_PATH = "/bodhi/v1/usage"
#: Seconds: ledgers of many months take a moment.
_PATIENCE = 60.0


def usage(
    *,
    by: str = "alias",
    bucket: str = "day",
    since: float | str | None = None,
    until: float | str | None = None,
    url: str | None = None,
    key: str | None = None,
) -> Any:
    """Usage over time, from the Jupyter server beside this kernel.

    Args:
        by: what to split by, with commas between: ``alias``, ``notebook``, ``client``, ``error`` ...; empty for none.
        bucket: the step, ``hour`` or ``day``.
        since: seconds since the epoch, or an ISO 8601 date or time; a week before `until` unless given.
        until: the same; now unless given.
        url: the server's base, or its ``/v1``; ``OPENAI_BASE_URL`` unless given.
        key: ``OPENAI_API_KEY`` unless given.

    Returns:
        A pandas DataFrame where pandas is installed, else a list of dicts: one row for each step and split, with
        ``requests``, ``errors``, ``prompt_tokens``, ``completion_tokens`` and ``disconnects``.

    Raises:
        RuntimeError: no address is known, or the server refuses; the message is the server's.
    """
    import httpx

    asked = {"by": by, "bucket": bucket, "since": since, "until": until}
    parameters = {name: str(value) for name, value in asked.items() if value is not None}
    headers = {"Authorization": f"Bearer {key or os.environ.get('OPENAI_API_KEY', '')}", "User-Agent": "bodhi-jupyter"}
    # A proxy of the environment must not see the key.
    with httpx.Client(trust_env=False, timeout=_PATIENCE) as client:
        response = client.get(_base(url) + _PATH, params=parameters, headers=headers)
    if response.status_code != 200:
        raise RuntimeError(_refusal(response))
    found = response.json()
    return _table(found["series"], ["start", "time", *found["by"], *found["totals"]])


def _base(url: str | None) -> str:
    known = url or os.environ.get("OPENAI_BASE_URL", "")
    if not known:
        raise RuntimeError("No server is known: OPENAI_BASE_URL is not set. Start the kernel again, or pass `url`.")
    return known.rstrip("/").removesuffix("/v1").rstrip("/")


def _refusal(response: Any) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code}: it has no {_PATH}."


def _table(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    if importlib.util.find_spec("pandas") is None:
        return rows
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame
