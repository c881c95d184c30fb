"""Every notebook of the repository, run from top to bottom by a kernel of a live server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.live.kernel import CellFailed, Kernel
from tests.live.server import LiveServer

#: The quickstart has tests of its own (`test_kernels`).
NOTEBOOKS = sorted(
    path for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb") if path.stem != "quickstart"
)


def run(kernel: Kernel, path: Path) -> dict[str, str]:
    """What each code cell showed, by its id."""
    cells = nbformat.read(path, as_version=4).cells
    return {cell.id: kernel.run(cell.source) for cell in cells if cell.cell_type == "code"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(server, path):
    with Kernel(server) as kernel:
        shown = run(kernel, path)

    silent = {name for name, text in shown.items() if not text.strip()}
    assert silent <= {"connect"}
    assert not server.get("/bodhi/v1/aliases").json()["data"]


@pytest.fixture(scope="module")
def kernel(server: LiveServer) -> Iterator[Kernel]:
    with Kernel(server) as kernel:
        kernel.run("%load_ext bodhi_jupyter")
        yield kernel


class TestMagics:
    def test_an_answer_into_a_variable_and_on_from_it(self, kernel):
        kernel.run("one = 1")
        kernel.run("%%chat -o first -m 5 --system 'Be brief.'\nSay {one + 1}.")
        kernel.run("%%chat default -o second -c first -m 5 -t 0\nAgain.")

        roles = kernel.value("[[m['role'], m['content']] for m in second.messages]")
        assert roles == [
            ["system", "Be brief."],
            ["user", "Say 2."],
            ["assistant", kernel.value("first.text")],
            ["user", "Again."],
        ]
        assert kernel.value("second.completion_tokens") == 5

    def test_models_and_status(self, kernel, server):
        assert "guide" in kernel.run("%bodhi models")
        assert kernel.run("%bodhi status").startswith(f"{server.url}: all is well")

    def test_the_model_that_is_used(self, kernel):
        kernel.run("%bodhi use guide")
        assert "guide" in kernel.run("%bodhi status").splitlines()[-1]

        assert kernel.value("__import__('bodhi_jupyter').chat('x', max_tokens=1, show=False).model") == "guide"

    @pytest.mark.parametrize(
        ("cell", "words"),
        [
            ("%%chat nobody\nHello", "nobody"),
            ("%bodhi use nobody", "nobody"),
            ("%bodhi use guide-embed", "guide-embed writes no text"),
            ("%%chat -t 9\nHello", "temperature"),
            ("%%chat -c nothing\nHello", "`nothing`"),
        ],
    )
    def test_errors_are_sentences(self, kernel, cell, words):
        with pytest.raises(CellFailed) as caught:
            kernel.run(cell)

        assert str(caught.value).startswith(("RequestRefused: ", "WrongArgument: "))
        assert words in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_what_it_does_not_know_it_says(self, kernel):
        assert kernel.run("%bodhi dance").startswith("Say `%bodhi` for the panel")

    def test_the_panel(self, kernel):
        assert "Panel(" in kernel.run("%bodhi")
