// Fences of code, as CommonMark has them.

const OPENING = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*([^\s`]*)/;

// What a line opens: its language, what closes it, and the indent that its lines lose; null where it opens nothing.
export function fenceOf(line) {
  const opening = OPENING.exec(line);
  if (!opening) return null;
  const [, indent, marks, language] = opening;
  const end = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`);
  return { line, language, end, indent: new RegExp(`^ {0,${indent.length}}`) };
}

// The same within a list, whose items are indented as deep as they like.
export function fenceInList(line) {
  const text = line.trimStart();
  const fence = fenceOf(text);
  if (!fence) return null;
  const depth = line.length - text.length;
  const end = { test: (other) => fence.end.test(other.trimStart()) };
  return { ...fence, line, end, indent: new RegExp(`^[ \\t]{0,${depth}}`) };
}

// The fence that is still open at the end of a text, or null.
export function openFence(text) {
  let fence = null;
  for (const line of text.split(/\r?\n/)) {
    if (!fence) fence = fenceOf(line);
    else if (fence.end.test(line)) fence = null;
  }
  return fence;
}
