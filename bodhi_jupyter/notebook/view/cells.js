// A conversation as text, and as cells of the notebook that the chat is in.

import { textOf } from "./conversation.js";

const NAMES_OF = { user: "You", assistant: "Assistant" };

export function asMarkdown(messages) {
  const shown = messages.filter(({ role, content }) => role in NAMES_OF && content);
  return shown.map((message) => `**${message.model || NAMES_OF[message.role]}**\n\n${textOf(message).trim()}\n`).join("\n");
}

// What is between fences of Python, or of no language, becomes a code cell; all else stays Markdown.
export function asCells(messages) {
  return messages
    .filter(({ role, content }) => role in NAMES_OF && content)
    .flatMap((message) => [
      { type: "markdown", source: `**${message.model || NAMES_OF[message.role]}**` },
      ...(message.role === "user" ? [{ type: "markdown", source: quoted(textOf(message)) }] : split(textOf(message))),
    ]);
}

function split(text) {
  const cells = [];
  const pattern = /^(`{3,}|~{3,})[ \t]*(python|py|python3|ipython)?[ \t]*\n([\s\S]*?)^\1[`~]*[ \t]*$/gm;
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    cells.push({ type: "markdown", source: text.slice(end, found.index) }, { type: "code", source: found[3] });
    end = found.index + found[0].length;
  }
  cells.push({ type: "markdown", source: text.slice(end) });
  return cells
    .map(({ type, source }) => ({ type, source: type === "code" ? source.trimEnd() : inert(source).trim() }))
    .filter(({ source }) => source);
}

// Markdown cells show HTML: a tag in a model's text is to be seen, and not to be one. Links keep to the web.
function inert(markdown) {
  return markdown.replace(/<(?=[a-zA-Z/!?])/g, "&lt;").replace(/!\[/g, "[").replace(/(\]\(\s*|\]:\s*)(?!https?:|mailto:|#)/gi, "$1#");
}

function quoted(text) {
  return inert(text).replace(/^/gm, "> ");
}

// Below the cell that shows `element`; false where the page gives no way to.
export function insertCells(manager, element, cells) {
  const notebook = manager?.context?.model?.sharedModel;
  const cell = element.closest(".jp-Cell");
  if (!notebook?.insertCell || !cell) return false;
  const place = cellIndex(cell) + 1;
  cells.forEach(({ type, source }, offset) => notebook.insertCell(place + offset, { cell_type: type, source, metadata: {} }));
  return true;
}

function cellIndex(cell) {
  const index = cell.dataset.windowedListIndex;
  return index === undefined ? [...cell.parentElement.querySelectorAll(":scope > .jp-Cell")].indexOf(cell) : Number(index);
}
