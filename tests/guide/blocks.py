"""The code in the guide's answers, and the names between backticks, each with the answer it stands in."""

from __future__ import annotations

import re
from typing import NamedTuple

from tools.guide import data

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """Code of one answer."""

    where: str
    language: str
    code: str


def blocks(language: str) -> list[Block]:
    """All of this language; a configuration is "config", other Python "python", magics ""."""
    found = [Block(where, lang, code) for where, text in data.answers() for lang, code in _FENCE.findall(text)]
    unique = {block.code: block for block in reversed(found)}.values()
    return [block for block in unique if _language(block) == language]


def _language(block: Block) -> str:
    return "config" if block.code.startswith("c.") else block.language


def spans() -> dict[str, str]:
    """What stands between backticks in a sentence, and where."""
    return {
        span: where for where, text in data.answers() for span in re.findall(r"(?<!`)`([^`\n]+)`", _FENCE.sub("", text))
    }
