// The widget: lays out the chat, and brings its parts together.

function render({ model, el }) {
  const log = document.createElement("div");
  log.setAttribute("role", "log");
  const show = () => {
    log.textContent = model
      .get("messages")
      .map((message) => `${message.role}: ${message.content}`)
      .join("\n\n");
  };
  model.on("change:messages", show);
  show();
  el.append(log);
}

export default { render };
