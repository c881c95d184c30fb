"""What the line of ``%%chat`` says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from bodhi_jupyter.notebook import magics

SHELL: Any = SimpleNamespace(user_ns={"tone": "brief"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """With what `chat` was called."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(magics, "chat", lambda text, **options: asked.update(text=text, **options))
    return asked


def run(line: str) -> None:
    magics.BodhiMagics(SHELL).chat_cell(line, "Hello")


@pytest.mark.parametrize(
    ("line", "model", "system"),
    [
        ("", None, ""),
        ("tutor", "tutor", ""),
        ('tutor -s "Be brief."', "tutor", "Be brief."),
        ('-s "Be brief." tutor', "tutor", "Be brief."),
        ("--system='Be {tone}.' tutor", "tutor", "Be brief."),
        ('-s "Don\'t." tutor -t 0', "tutor", "Don't."),
        ('--system="Say \\"yes\\"." tutor', "tutor", 'Say "yes".'),
        (r'-s "In LaTeX: \frac." tutor', "tutor", r"In LaTeX: \frac."),
        ('tutor -s ""', "tutor", ""),
        ("-s Brief.", None, "Brief."),
        ("tutor -s Brief. -t 0", "tutor", "Brief."),
        ("-s Brief. -t 0 tutor", "tutor", "Brief."),
        ('-s "Say: -s Be brief." tutor', "tutor", "Say: -s Be brief."),
        (r'-s "Say \"-s Be brief.\"" tutor', "tutor", 'Say "-s Be brief."'),
    ],
)
def test_the_model_and_the_system_prompt(asked, line, model, system):
    run(line)
    assert (asked["text"], asked["model"], asked["system"]) == ("Hello", model, system)


@pytest.mark.parametrize("line", ["tutor guide", "-s", "-s 'Be brief."])
def test_what_belongs_nowhere_is_told(asked, line):
    with pytest.raises(UsageError):
        run(line)
    assert asked == {}


@pytest.mark.parametrize(
    "line",
    [
        "-s Be brief.",
        "-s Be brief. tutor",
        "-s Be very brief.",
        "-s Brief. tutor",
        "tutor -s Be brief.",
        "-t 0 -s Be 'brief.'",
        r"-s Don\'t tell",
        "-sBe brief.",
        "--system Be brief.",
        "--system=Be brief.",
        "--sys Be brief.",
    ],
)
def test_a_system_prompt_of_several_words_is_not_taken_apart(asked, line):
    with pytest.raises(UsageError, match="stands in quotation marks"):
        run(line)
    assert asked == {}
