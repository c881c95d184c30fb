"""The form that makes and changes an alias; what may be said the server decides, and says at the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from .errors import RequestRefused
from .fields import ChoiceField, Field, NumberField, ObjectField, Problem
from .text import element

#: What an alias may stand for, and the document's fields that say it.
TARGETS = {
    "A file on this disk": ("path",),
    "A file of the Hugging Face cache": ("repo", "filename", "snapshot"),
    "A model of a configured server": ("backend", "model"),
}
#: Fields whose choices depend on what another says.
_WITHIN = {"filename": "repo", "model": "backend"}
_REQUEST = "request_params"
_CONTEXT = "context_params"


class AliasForm(widgets.VBox):
    """An alias as fields.

    Args:
        on_save: called with the document that the person wants.
        on_cancel: called when they do not.
    """

    def __init__(self, on_save: Callable[[dict[str, Any]], None], on_cancel: Callable[[], None]) -> None:
        self._on_save = on_save
        self._rest: dict[str, Any] = {}
        self._targets: Sequence[Mapping[str, Any]] = ()
        self._filled: dict[str, Any] = {}
        self._unchanged: dict[str, Any] = {}
        self._heading = widgets.HTML()
        self._target = widgets.Dropdown(
            options=list(TARGETS),
            description="Stands for",
            style={"description_width": "8.5em"},
            layout={"width": "100%"},
        )
        self.fields = _fields()
        self._more = {
            _REQUEST: ObjectField("More, as JSON", '{"top_k": 40}'),
            _CONTEXT: ObjectField("More, as JSON", '{"n_gpu_layers": -1}'),
        }
        self.problem = Problem()
        self.save = widgets.Button(description="Save", button_style="primary")
        cancel = widgets.Button(description="Cancel")
        self.save.on_click(lambda _: self._submit())
        cancel.on_click(lambda _: on_cancel())
        self._target.observe(lambda _: self._show_target(), "value")
        for name in _WITHIN.values():
            self.fields[name].input.observe(lambda _: self._show_choices(), "value")
        super().__init__(
            [
                self._heading,
                self.fields["alias"],
                self.fields["description"],
                self._target,
                *(self.fields[name] for names in TARGETS.values() for name in names),
                self.fields["tags"],
                _section("Defaults, for what a request leaves out"),
                *(field for path, field in self.fields.items() if path.startswith(_REQUEST)),
                self._more[_REQUEST],
                _section("How it is loaded"),
                *(field for path, field in self.fields.items() if path.startswith(_CONTEXT)),
                self.fields["keep_alive"],
                self._more[_CONTEXT],
                self.problem,
                widgets.HBox([self.save, cancel]),
            ]
        )
        self.add_class("bodhi-ui-form")
        self.add_class("bodhi-ui-grid-form")
        self._show_target()

    def fill(self, document: Mapping[str, Any], heading: str) -> None:
        """Show an alias; what has no field is kept as it is."""
        self._heading.value = element("h3", heading)
        self.complain(None)
        rest = {name: dict(value) if isinstance(value, Mapping) else value for name, value in document.items()}
        for path, field in self.fields.items():
            self._filled[path] = _taken(rest, path)
            field.text = _text(self._filled[path])
        for name, field in self._more.items():
            field.document = rest.pop(name, None) or {}
        self._rest = rest
        self._target.value = next(
            (target for target, names in TARGETS.items() if document.get(names[0])), next(iter(TARGETS))
        )
        self._unchanged = self.document()

    def offer(self, targets: Sequence[Mapping[str, Any]]) -> None:
        """Have these chosen from, by the fields that name them; anything else can be typed all the same."""
        self._targets = targets
        self._show_choices()

    @property
    def is_changed(self) -> bool:
        """Whether the person has written something."""
        return self.document() != self._unchanged

    def document(self) -> dict[str, Any]:
        """The alias that the fields say; whether it is one the server decides."""
        document = dict(self._rest)
        for name, field in self._more.items():
            document[name] = field.document
        hidden = {name for target, names in TARGETS.items() if target != self._target.value for name in names}
        for path, field in self.fields.items():
            if field.text and path not in hidden:
                _put(document, path, self._value(path, field))
        return {name: value for name, value in document.items() if value not in ({}, [])}

    def complain(self, error: RequestRefused | None) -> None:
        """Show all that the server found, each at the field that it names; None takes everything back."""
        found: dict[Field, list[str]] = {}
        of_no_field: list[str] = []
        for param, reason in error.faults if error else ():
            field = self._field_of(param)
            reasons = of_no_field if field is None else found.setdefault(field, [])
            reasons.append(reason)
        if of_no_field:
            # What it stands for is asked for in words of the form's own.
            said_there = bool(self._empty_targets())
            of_no_field = [reason for reason in of_no_field if not (said_there and "'repo'" in reason)]
            for field in self._empty_targets():
                found.setdefault(field, ["This field is missing."])
        self.problem.value = " ".join(of_no_field)
        fields = (*self.fields.values(), *self._more.values())
        for field in fields:
            field.complain(" ".join(found.get(field, ())))
        first = next((field for field in fields if field in found), None)
        if first is not None:
            first.focus()

    def _value(self, path: str, field: Field) -> Any:
        filled = self._filled.get(path)
        if field.input.value == _text(filled):
            return filled  # nobody has changed it, and its text may say less: which comma is one of a tag's own
        if path == "tags":
            return [tag.strip() for tag in field.text.split(",") if tag.strip()]
        return field.number if isinstance(field, NumberField) else field.text

    def _field_of(self, param: str) -> Field | None:
        """Where it can be mended; None where the whole form is to blame."""
        path = param.partition("[")[0]
        field = self.fields.get(path) or self._more.get(path.partition(".")[0])
        return None if field is None or field.layout.display == "none" else field

    def _empty_targets(self) -> list[Field]:
        """Those that say what the alias stands for, and say nothing yet."""
        fields = [self.fields[name] for name in TARGETS[self._target.value] if name != "snapshot"]
        return [field for field in fields if not field.text]

    def _submit(self) -> None:
        self.complain(None)
        self._on_save(self.document())

    def _show_choices(self) -> None:
        for name in (name for names in TARGETS.values() for name in names):
            field, within = self.fields[name], _WITHIN.get(name)
            if isinstance(field, ChoiceField):
                fitting = (
                    target for target in self._targets if not within or target.get(within) == self.fields[within].text
                )
                field.offer(target[name] for target in fitting if target.get(name))

    def _show_target(self) -> None:
        for target, names in TARGETS.items():
            for name in names:
                self.fields[name].layout.display = None if target == self._target.value else "none"


def _fields() -> dict[str, Field]:
    """All fields by their path in the document, in the order in which they are shown."""
    return {
        "alias": Field("Name", "what callers ask for"),
        "path": ChoiceField("Path", "of a GGUF file: choose or type"),
        "repo": ChoiceField("Repository", "organisation/name"),
        "filename": ChoiceField("File", "name.Q4_K_M.gguf"),
        "snapshot": Field("Revision", "the newest"),
        "backend": ChoiceField("Server", "its name in the configuration"),
        "model": ChoiceField("Model", "its name on that server"),
        "description": Field("Description"),
        "tags": Field("Tags", "separated by commas"),
        f"{_REQUEST}.system_prompt": Field("System prompt", lines=3),
        f"{_REQUEST}.temperature": NumberField("Temperature", "0 to 2"),
        f"{_REQUEST}.top_p": NumberField("Top p", "0 to 1"),
        f"{_REQUEST}.max_tokens": NumberField("Longest answer", "in tokens"),
        f"{_CONTEXT}.n_ctx": NumberField("Context", "in tokens, over all slots; 4096"),
        f"{_CONTEXT}.n_parallel": NumberField("Slots", "requests answered at once; 1"),
        "keep_alive": NumberField("Stays loaded", "10m, or seconds; -1: always"),
    }


def _section(text: str) -> widgets.HTML:
    heading = widgets.HTML(element("h4", text))
    heading.add_class("bodhi-ui-section")
    return heading


def _taken(document: dict[str, Any], path: str) -> Any:
    """The value at `path`, which is then no longer in the document."""
    first, _, rest = path.partition(".")
    if not rest:
        return document.pop(first, None)
    inner = document.get(first)
    return inner.pop(rest, None) if isinstance(inner, dict) else None


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    if rest:
        inner = document.get(first, {})
        # What is no object the server refuses, whatever else were in it.
        document[first] = {**inner, rest: value} if isinstance(inner, dict) else inner
    else:
        document[first] = value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
