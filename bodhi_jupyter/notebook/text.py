"""HTML and SVG out of text that nobody vouches for."""

from __future__ import annotations

import html

#: Elements that have no end.
_VOID = frozenset({"br", "hr", "img", "rect", "line", "path", "circle", "polyline"})


def element(name: str, text: object, **attributes: object) -> str:
    """An element that holds a text, escaped."""
    return markup(name, html.escape(str(text)), **attributes)


def markup(name: str, *inner: str, **attributes: object) -> str:
    """An element that holds markup of ours. In attributes' names ``_`` stands for ``-``; at the end it is dropped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID and not inner:
        return f"<{name}{written}/>"
    return f"<{name}{written}>{''.join(inner)}</{name}>"
