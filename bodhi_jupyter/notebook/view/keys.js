// Keys that are pressed in `element` are its own: JupyterLab would take letters as commands, and delete the cell. It looks for
// the mark from the focused element upwards, but finds commands of cells at that element itself.
export function keepKeys(element) {
  element.dataset.lmSuppressShortcuts = "true";
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
}
