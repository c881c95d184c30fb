// Ids for labels and descriptions. Each widget has a module of its own: a count would begin anew in each.
export function newId(what) {
  return `bodhi-${what}-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
}
