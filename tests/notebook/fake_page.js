// As much of a page as the chat needs to be built and pressed: elements without looks, a clipboard of none.

const selected = (element, selector) =>
  selector.split(",").some((part) => {
    const [, tag, names, label] = /^\s*([a-z]*)((?:\.[\w-]+)*)(?:\[aria-label='(.*)'\])?\s*$/.exec(part);
    return (
      (!tag || element.tagName === tag.toUpperCase()) &&
      names.split(".").slice(1).every((name) => element.classList.contains(name)) &&
      (label === undefined || element.getAttribute("aria-label") === label)
    );
  });

class FakeElement {
  constructor(tag = "") {
    this.tagName = tag.toUpperCase();
    this.attributes = {};
    this.dataset = {};
    this.style = {};
    this.childNodes = [];
    this.handlers = [];
    this.parentElement = null;
    this.value = "";
    const names = () => new Set((this.attributes.class ?? "").split(" ").filter(Boolean));
    const keep = (all) => (this.attributes.class = [...all].join(" "));
    this.classList = {
      contains: (name) => names().has(name),
      add: (...more) => keep(new Set([...names(), ...more])),
      remove: (...less) => keep([...names()].filter((name) => !less.includes(name))),
      replace: (one, other) => keep([...names()].map((name) => (name === one ? other : name))),
      toggle: (name, isOn) => keep(isOn ? new Set([...names(), name]) : [...names()].filter((other) => other !== name)),
    };
    // A template's.
    this.content = this;
  }
  get children() { return this.childNodes.filter((child) => child instanceof FakeElement); }
  get lastElementChild() { return this.children.at(-1) ?? null; }
  get firstElementChild() { return this.children[0] ?? null; }
  get textContent() { return this.childNodes.map((child) => child.textContent ?? child).join(""); }
  set textContent(text) { this.replaceChildren(text); }
  set innerHTML(html) { this.replaceChildren(html.replace(/<[^>]*>/g, "")); }
  get className() { return this.attributes.class ?? ""; }
  set className(names) { this.attributes.class = names; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  hasAttribute(name) { return name in this.attributes; }
  removeAttribute(name) { delete this.attributes[name]; }
  take(children) {
    for (const child of children) if (child instanceof FakeElement) { child.remove(); child.parentElement = this; }
    return children.map((child) => (child instanceof FakeElement ? child : String(child)));
  }
  append(...children) { this.childNodes.push(...this.take(children)); }
  prepend(...children) { this.childNodes.unshift(...this.take(children)); }
  insertBefore(child, before) {
    this.take([child]);
    const at = this.childNodes.indexOf(before);
    this.childNodes.splice(at < 0 ? this.childNodes.length : at, 0, child);
  }
  replaceChildren(...children) {
    for (const child of this.children) child.parentElement = null;
    this.childNodes = [];
    this.append(...children);
  }
  replaceWith(other) {
    const { parentElement } = this;
    parentElement.insertBefore(other, this);
    this.remove();
  }
  remove() {
    if (this.parentElement) this.parentElement.childNodes = this.parentElement.childNodes.filter((child) => child !== this);
    this.parentElement = null;
  }
  contains(other) { return Boolean(other) && (other === this || this.contains(other.parentElement)); }
  closest(selector) { return selected(this, selector) ? this : (this.parentElement?.closest(selector) ?? null); }
  querySelectorAll(selector) {
    return this.children.flatMap((child) => [...(selected(child, selector) ? [child] : []), ...child.querySelectorAll(selector)]);
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  addEventListener(name, handler) { this.handlers.push([name, handler]); }
  removeEventListener() {}
  // As a browser does: from here upwards.
  dispatch(name, more = {}) {
    const event = { target: this, isStopped: false, isPrevented: false, ...more };
    event.preventDefault = () => (event.isPrevented = true);
    event.stopPropagation = () => (event.isStopped = true);
    for (let one = this; one && !event.isStopped; one = one.parentElement) {
      event.currentTarget = one;
      for (const [other, handler] of one.handlers) if (other === name) handler(event);
    }
    return event;
  }
  click() { if (!this.disabled) this.dispatch("click"); }
  focus() { document.activeElement = this; }
  select() {}
  scrollIntoView() {}
  checkVisibility() { return !this.hidden; }
}
for (const name of ["hidden", "disabled"]) {
  Object.defineProperty(FakeElement.prototype, name, {
    get() { return name in this.attributes; },
    set(isOn) { if (isOn) this.attributes[name] = ""; else delete this.attributes[name]; },
  });
}

const body = new FakeElement("body");
Object.assign(document, {
  createElement: (tag) => new FakeElement(tag),
  createElementNS: (_, tag) => new FakeElement(tag),
  execCommand: () => true,
  activeElement: body,
  body,
});
globalThis.window = { isSecureContext: false };
globalThis.requestAnimationFrame = (task) => setTimeout(task);
globalThis.IntersectionObserver = class {
  observe() {}
  disconnect() {}
};
// Nothing here has a size: a test says when one has another.
globalThis.ResizeObserver = class {
  static all = new Map();
  constructor(notice) { this.notice = notice; }
  observe(element) { ResizeObserver.all.set(element, this.notice); }
  disconnect() { for (const [element, notice] of ResizeObserver.all) if (notice === this.notice) ResizeObserver.all.delete(element); }
};
