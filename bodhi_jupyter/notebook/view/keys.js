// Keys that are pressed in `element` are its own: JupyterLab would take letters as commands, and delete the cell. It looks for
// the mark from the focused element upwards, but finds commands of cells at that element itself. With the mark it takes no key
// at all: the notebook is saved here, where the widgets' `manager` knows it, and not the page by the browser.
export function keepKeys(element, manager) {
  element.dataset.lmSuppressShortcuts = "true";
  element.addEventListener("keydown", (event) => {
    const isCommand = event.ctrlKey || event.metaKey;
    if (!isCommand && !event.altKey) event.stopPropagation();
    if (!isCommand || event.altKey || event.shiftKey || event.key.toLowerCase() !== "s" || !manager?.context?.save) return;
    event.preventDefault();
    event.stopPropagation();
    manager.context.save();
  });
}
