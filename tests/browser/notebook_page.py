"""A notebook in a browser, as a person uses it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import nbformat

from tests.live.server import PATIENCE, LiveServer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response


class NotebookPage:
    """A notebook that is open, its kernel connected.

    Args:
        lab: where it is.
        page: a browser's page.
        cells: their sources.
        name: of the file.
        route: ``lab/tree`` for JupyterLab, ``notebooks`` for Notebook 7.
    """

    def __init__(
        self, lab: LiveServer, page: Page, *cells: str, name: str = "chat.ipynb", route: str = "lab/tree"
    ) -> None:
        from playwright.sync_api import TimeoutError as TimedOut

        self.page = page
        self._timed_out = TimedOut
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
        (lab.root / name).write_text(nbformat.writes(notebook), encoding="utf-8")
        more = "&reset" if route.startswith("lab") else ""
        page.goto(f"{lab.url}/{route}/{name}?token={lab.token}{more}")
        self._is_lab = route.startswith("lab")
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        # JupyterLab loses cells that are run while it connects to the kernel.
        if self._is_lab:
            self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        else:
            # Its indicator says "idle" also before there is a kernel.
            self.page.locator(".jp-KernelName").get_by_text("Python 3 (ipykernel)").wait_for()
            self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def prompts(self) -> list[str]:
        return self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()

    def run(self, index: int) -> None:
        """Run a cell, and do not wait for its end."""
        self._run(index, r"\[[*]\]|\[\d+\]")

    def run_to_end(self, index: int) -> str:
        """Run a cell; what it printed."""
        self._run(index, r"\[\d+\]")
        return "\n".join(self.cell(index).locator(".jp-OutputArea-output").all_inner_texts())

    def _run(self, index: int, prompt: str) -> None:
        """Run a cell until its prompt is another one, of this kind."""
        before = self.prompts()[index]
        for _ in range(4):
            self.cell(index).locator(".cm-content").click()
            self.page.keyboard.press("Control+Enter")
            with suppress(self._timed_out):
                return self._wait_for_prompt(index, before, prompt, 15_000)
            # Right after the page was opened a key may be lost. One that was not must not be pressed again: the cell
            # would run twice, and take away what the first run showed.
            if self.prompts()[index] == before:
                self.wait_for_kernel()
            if self.prompts()[index] != before:
                break
        return self._wait_for_prompt(index, before, prompt, 60_000)

    def _wait_for_prompt(self, index: int, before: str, kind: str, milliseconds: float) -> None:
        self.page.wait_for_function(
            """([index, before, kind]) => {
                const cell = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[index];
                const prompt = cell.querySelector('.jp-InputPrompt').innerText;
                return prompt !== before && new RegExp(kind).test(prompt);
            }""",
            arg=[index, before, kind],
            timeout=milliseconds,
        )

    def set_source(self, index: int, source: str) -> None:
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def interrupt(self) -> None:
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_text("Interrupt Kernel").click()
        # What is run before it is over would be dropped.
        self.page.wait_for_function("!document.querySelector('.jp-Notebook').innerText.includes('[*]')")

    def restart(self) -> None:
        """Restart the kernel, and wait until the new one is there."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_text("Restart Kernel…", exact=True).click()
        # Until then the status bar may say of the old kernel that it is idle.
        with self.page.expect_response(lambda response: "/restart" in response.url and response.ok):
            self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self.wait_for_kernel()

    def shut_down(self) -> None:
        """End the kernel, for good."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_text("Shut Down Kernel", exact=True).click()

    def save(self) -> None:
        """Save the notebook, and wait until it is."""

        def is_saved(response: Response) -> bool:
            # JupyterLab puts away how its page is laid out, too.
            return response.request.method == "PUT" and "/api/contents/" in response.url and response.ok

        with self.page.expect_response(is_saved):
            self.page.keyboard.press("Control+s")

    def value(self, index: int, expression: str) -> object:
        """What an expression is in the kernel, by way of JSON; a cell of that index is overwritten.

        For what cannot change any more: the kernel may hear only after this cell of what the page did before.
        """
        self.set_source(index, f"import json; print(json.dumps({expression}))")
        return json.loads(self.run_to_end(index))

    def wait_for_value(self, index: int, expression: str, expected: object) -> None:
        """Ask as `value` does until the answer is as expected; fails, telling the last one, if it never is."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.value(index, expression)) != expected:
            assert time.monotonic() < deadline, f"{expression} stayed {found!r}, and never was {expected!r}"


class BrowserPage(NotebookPage):
    """The model browser in a notebook."""

    def row(self, name: str) -> Locator:
        return self.page.get_by_role("option").filter(has=self.page.get_by_text(name, exact=True))

    def names(self) -> list[str]:
        return self.page.locator(".bodhi-ui-row .bodhi-ui-title").all_inner_texts()

    def click(self, label: str) -> None:
        self.page.locator(".bodhi-ui-browser").get_by_role("button", name=label, exact=True).click()

    def submit(self, label: str) -> None:
        self.page.locator(".bodhi-ui-form").get_by_role("button", name=label, exact=True).click()

    def fill(self, label: str, text: str) -> None:
        # Only a change that is over reaches the kernel.
        field = self.page.locator(".bodhi-ui-form").get_by_label(label, exact=True)
        field.fill(text)
        field.press("Tab")

    def wait_for_message(self, text: str) -> None:
        self.page.locator(".bodhi-ui-message").get_by_text(text, exact=True).wait_for()

    def wait_for_state(self, name: str, state: str) -> None:
        self.row(name).get_by_text(state, exact=True).wait_for()

    def wait_for_names(self, *names: str) -> None:
        self.page.wait_for_function(
            """names => JSON.stringify([...document.querySelectorAll('.bodhi-ui-row .bodhi-ui-title')]
                .map(title => title.textContent).sort()) === JSON.stringify(names)""",
            arg=sorted(names),
        )


class ChatPage:
    """The chat in a notebook's page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.message = page.get_by_role("textbox", name="Message", exact=True)
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.model = page.get_by_role("combobox", name="Model", exact=True)
        self.log = page.get_by_role("log", name="Conversation")
        self.answers = page.locator(".bodhi-message[data-role='assistant']")

    def ask(self, text: str) -> None:
        # The last words are seen a little before the end, and only then the next message is taken.
        self.wait_for_end()
        self.message.fill(text)
        self.message.press("Enter")

    def wait_for_end(self) -> None:
        self.page.locator(".bodhi-chat[data-state='answering']").wait_for(state="detached")
