// A conversation as text, and as cells of the notebook that the chat is in.

import { attachmentsOf, textOf } from "./conversation.js";
import { fenceInList, fenceOf } from "./fences.js";

const NAMES_OF = { user: "You", assistant: "Assistant" };

export function asMarkdown(messages) {
  return spoken(messages)
    .map((message) => [heading(message), textOf(message).trim(), ...attachedBlocks(message).map(asMarkdownBlock)])
    .map((parts) => `${parts.filter(Boolean).join("\n\n")}\n`)
    .join("\n");
}

// Of an answer what is between fences of Python, or of no language, becomes a code cell; all else stays Markdown.
export function asCells(messages) {
  return spoken(messages).flatMap((message) => [
    markdownCell(heading(message)),
    ...[...blocksOf(textOf(message)), ...attachedBlocks(message)].map(message.role === "user" ? questionCell : answerCell),
  ]);
}

function spoken(messages) {
  return messages.filter((message) => message.role in NAMES_OF && (textOf(message).trim() || attachmentsOf(message).length));
}

// The model's name comes from a server as its text does.
function heading({ role, model }) {
  return `**${inert(model || NAMES_OF[role]).replace(/\s+/g, " ")}**`;
}

// A line that may say where a link leads: its label begins here, or in a line before.
const DEFINITION = /^(?:[\s>*+-]|\d+[.)])*(?:\[|(?:\\.|[^[])*\]:)/;
const LIST_ITEM = /^[ \t]*(?:[-+*]|\d{1,9}[.)])[ \t]/;
const PYTHON = new Set(["", "python", "py", "python3", "ipython"]);

// A text's parts: { text }, and { code, language } of what is between fences, as CommonMark has them; those without an end
// go on to the text's.
function blocksOf(text) {
  const blocks = [];
  let lines = [];
  let fence = null;
  let isInList = false;
  const put = () => {
    const joined = lines.join("\n");
    lines = [];
    if (!joined.trim()) return;
    blocks.push(fence ? { code: joined.trimEnd(), language: fence.language } : { text: joined.trim() });
  };
  for (const line of text.split(/\r?\n/)) {
    if (!fence) isInList = LIST_ITEM.test(line) || (isInList && /^\s|^$/.test(line));
    const opening = fence ? null : isInList ? fenceInList(line) : fenceOf(line);
    if (opening) {
      put();
      fence = opening;
    } else if (fence?.end.test(line)) {
      put();
      fence = null;
    } else {
      lines.push(fence ? line.replace(fence.indent, "") : line);
    }
  }
  put();
  return blocks;
}

// What is attached to a message: its name, and what a text holds.
function attachedBlocks(message) {
  return attachmentsOf(message).flatMap(({ name, text = "" }) => [
    { text: `Attached: ${name.replace(/\s+/g, " ")}` },
    ...(text.trim() ? [{ code: text.replace(/\r\n?/g, "\n").trimEnd(), language: "text" }] : []),
  ]);
}

function markdownCell(source) {
  return { type: "markdown", source };
}

function questionCell(block) {
  return markdownCell(asMarkdownBlock(block).replace(/^/gm, "> "));
}

// Of an answer, by the rule above: { text }, or { code, language }.
export function answerCell(block) {
  const isPython = PYTHON.has(block.language?.toLowerCase());
  return isPython ? { type: "code", source: block.code } : markdownCell(asMarkdownBlock(block));
}

// Code stays as it is: alone in its cell, between fences that nothing in it ends.
function asMarkdownBlock({ text, code, language }) {
  if (code === undefined) return inert(text);
  const runs = code.match(/`+/g) ?? [];
  const marks = "`".repeat(Math.max(3, ...runs.map(({ length }) => length + 1)));
  return `${marks}${language.replace(/[^\w+#.-]/g, "")}\n${code}\n${marks}`;
}

// Markdown cells show HTML: a tag in a model's text is to be seen, and not to be one. Links keep to the web.
function inert(text) {
  return text.split(/(\n[ \t]*\n)/).map(inertParagraph).join("");
}

// What is code within a line stays as it is, but only where every reader of Markdown finds the same code in it.
function inertParagraph(text) {
  const isPlain = !/[\\$|\r]|(?::\/\/|www\.)[^\s<]*`/i.test(text);
  const lines = text.split("\n").map((line) => line.split(/((?<!`)(`+)(?!`).*?(?<!`)\2(?!`))/));
  // Every run of backticks has its end in its line: the pieces are text, code, the code's backticks, text ...
  const isPaired = lines.every((pieces) => pieces.every((piece, at) => at % 3 || !piece.includes("`")));
  if (!isPlain || !isPaired) return text.split("\n").map(inertLine).join("\n");
  return lines.map((pieces) => pieces.map((piece, at) => [inertLine, String, () => ""][at % 3](piece)).join("")).join("\n");
}

function inertLine(line) {
  const links = line.replace(/<(?=[a-zA-Z/!?])/g, "&lt;").replace(/!\[/g, "[").replace(/\]\((?!\s*(?:https?:|mailto:|#))\s*/gi, "](#");
  return DEFINITION.test(links) ? links.replace(/\]:(?!\s*(?:https?:|mailto:|#)|[ \t]*[^\s<]\S*[ \t]+[^\s"'(])\s*/gi, "]:#") : links;
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
