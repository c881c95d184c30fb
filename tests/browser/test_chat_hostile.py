"""What a model writes to harm whoever reads it does nothing, however it is cut on its way."""

from __future__ import annotations

import pytest

from bodhi_jupyter.notebook.view import view_module
from bodhi_jupyter.wire.markdown import render_growing, render_markdown
from tests.browser.scripted import says
from tests.wire.hostile import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

#: The view's own code, with what the server makes of each text; both halves of every cut are shown.
SHOW = """async ([source, cuts]) => {
    const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    const place = document.querySelector(".bodhi-log");
    let shown = 0;
    for (const [first, second, begun, whole] of cuts) {
        const answers = [begun, whole];
        const growing = new module.GrowingMarkdown(async () => answers.shift(), () => {});
        place.replaceChildren(growing.element);
        growing.append(first);
        clearTimeout(growing.timer);
        await growing.ask();
        clearTimeout(growing.timer);
        growing.timer = null;
        growing.append(second);
        clearTimeout(growing.timer);
        growing.ended = true;
        await growing.ask();
        await growing.done;
        if (answers.length) throw new Error("not all was rendered");
        shown += 1;
        window.check(growing.element);
    }
    return shown;
}"""
CHECK = """() => {
    const good = new Set(["http:", "https:", "mailto:"]);
    const foreign = new Set([
        ...["script", "style", "img", "iframe", "object", "embed", "link", "meta", "base", "form", "input", "select"],
        ...["textarea", "button", "video", "audio", "template", "noscript"],
    ]);
    window.found = [];
    window.check = (root) => {
        for (const element of root.querySelectorAll("*")) {
            const name = element.tagName.toLowerCase();
            if (foreign.has(name)) window.found.push(element.outerHTML);
            if (element.namespaceURI === "http://www.w3.org/2000/svg") window.found.push(element.outerHTML);
            for (const { name: attribute, value } of element.attributes) {
                const isBad = /^on|^style$|^src|^formaction$/.test(attribute);
                if (isBad || (attribute === "href" && !good.has(new URL(value, location.href).protocol))) {
                    window.found.push(element.outerHTML);
                }
            }
            if (name === "a" && element.rel !== "noopener noreferrer") window.found.push(element.outerHTML);
        }
    };
}"""


def after(first: str, second: str) -> dict[str, str]:
    """What the server makes of the rest, once the first part is shown."""
    return {"html": render_markdown(render_growing(first)["rest"] + second)}


def test_hostile_text_is_inert_at_every_cut(start, notebook, module_visit):
    start()
    page = notebook.page
    page.evaluate(CHECK)
    source = view_module() + "\nexport { GrowingMarkdown };\n"
    cuts = [
        [text[:end], text[end:], render_growing(text[:end]), after(text[:end], text[end:])]
        for text in HOSTILE
        for end in range(1, len(text))
    ]
    assert page.evaluate(SHOW, [source, cuts]) == len(cuts)
    assert page.evaluate("window.found") == []
    assert page.evaluate("window.harmed") is None
    assert not [host for host in module_visit.hosts if "evil" in host]


def test_hostile_text_streams_through_the_whole_of_it_one_character_at_a_time(start, notebook, backend, module_visit):
    chat = start()
    page = notebook.page
    page.evaluate(CHECK)
    backend.behave(says("\n\n".join([*HOSTILE, "The end of all."]), size=1, reasoning="\n".join(HOSTILE)))
    chat.ask("\n".join(HOSTILE))
    chat.wait_for_end()
    # The last block is rendered with those before it.
    page.locator(".bodhi-markdown > div:first-child > p", has_text="The end of all.").wait_for()
    # What the view itself puts above code is its own.
    page.evaluate("document.querySelectorAll('.bodhi-code-header').forEach((header) => header.remove())")
    page.evaluate("window.check(document.querySelector('.bodhi-markdown'))")
    assert page.evaluate("window.found") == []
    # Seen, and not run: as code, as text, and in what the model thought.
    assert page.locator(".bodhi-markdown").get_by_text("onerror=window.harmed=1").count() > 20
    assert page.evaluate("window.harmed") is None
    assert module_visit.hosts == {"127.0.0.1"}


def test_names_and_tool_calls_of_a_model_are_text(start, notebook, module_visit):
    harm = "<img src=x onerror=window.harmed=1>"
    call = {"id": "1", "type": "function", "function": {"name": harm, "arguments": harm}}
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": harm},
                {"type": "image_url", "image_url": {"url": "https://evil.example/x.png"}},
            ],
        },
        {"role": "assistant", "content": harm, "model": harm, "reasoning": harm, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": harm},
        {"role": harm, "content": harm},
    ]
    chat = start(f"messages={messages!r}, model={harm!r}, chats=[{{'id': '0', 'messages': {messages!r}}}]")
    chat.answers.locator(".bodhi-markdown").get_by_text("onerror").wait_for()
    assert notebook.page.locator(".bodhi-chat img").count() == 0
    assert notebook.page.evaluate("window.harmed") is None
