"""One alias as a YAML file: what it may say, read with the line of a mistake, written with its comments kept.

    alias: llama3:instruct
    repo: QuantFactory/Meta-Llama-3-8B-Instruct-GGUF
    filename: Meta-Llama-3-8B-Instruct.Q8_0.gguf
    request_params: {temperature: 0.7, system_prompt: Be brief.}
    context_params: {n_ctx: 8192, n_parallel: 2}
    keep_alive: 10m

BodhiApp's files load as they are: raw arguments and the older struct in `context_params` are translated, and
the fields that only BodhiApp uses are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from ..wire.duration import parse_duration
from ..wire.validation import Location, render_path
from .context import ContextParams
from .llama_args import translate_args, translate_struct
from .names import check_alias_name
from .request_params import RequestParams
from .yaml_text import YamlDocument, YamlProblem, read_yaml, same_value, write_yaml

#: A file past this size is not an alias.
MAX_BYTES = 256 * 1024

#: Mistakes of a document that are told.
MOST_FAULTS = 100

#: Fields of BodhiApp's files that mean nothing here; they stay in a file that we change.
BODHIAPP_FIELDS = frozenset({"id", "source", "family", "features", "chat_template", "created_at", "updated_at"})

#: What an alias stands for.
_TARGET = ("path", "repo", "filename", "snapshot", "backend", "model")

_REPO = r"^(?:[A-Za-z0-9_.-]+/)?[A-Za-z0-9_.-]+$"


class AliasProblem(Exception):
    """A document is no alias.

    Attributes:
        reason: one sentence.
        param: the field, as in ``request_params.temperature``, or None where none is to blame.
        line: where in the file, counted from 1, or None.
        faults: what is wrong with a document, this first: each a field, or None, and a sentence.
    """

    def __init__(
        self,
        reason: str,
        *,
        param: str | None = None,
        line: int | None = None,
        faults: Sequence[tuple[str | None, str]] = (),
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.param = param
        self.line = line
        self.faults = tuple(faults) or ((param, reason),)


def _inside_repository(name: str) -> str:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or PureWindowsPath(name).drive or "\\" in name or ".." in parts:
        raise ValueError("a file inside the repository is expected, with '/' between folders")
    return name


def _duration(value: int | float | str) -> int | float | str:
    parse_duration(value)
    return value


NonEmpty = Annotated[str, Field(min_length=1)]
InRepository = Annotated[NonEmpty, AfterValidator(_inside_repository)]


class AliasFile(BaseModel):
    """The fields of an alias's file; a field that is not listed is an error, so that a typo is seen."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    alias: Annotated[str, AfterValidator(check_alias_name)]
    """What callers put into `model`."""

    path: NonEmpty | None = None
    """A GGUF: absolute, from the home folder (``~/``), or inside one of the models folders."""

    repo: Annotated[str, Field(pattern=_REPO)] | None = None
    """A repository in the Hugging Face cache, ``organisation/name``, or of the hub's first ones the name."""

    filename: InRepository | None = None
    """The GGUF in `repo`; the first one of a split model."""

    snapshot: InRepository | None = None
    """A revision of `repo`: a commit, or a name such as ``main``. Default: the newest that has the file."""

    backend: NonEmpty | None = None
    """The name of a configured server."""

    model: NonEmpty | None = None
    """The model's name on that server."""

    request_params: RequestParams = Field(default_factory=RequestParams)
    context_params: ContextParams = Field(default_factory=ContextParams)

    keep_alive: Annotated[int | float | str, AfterValidator(_duration)] | None = None
    """How long the model stays loaded after its last request: seconds or ``5m``; negative is for ever, 0 at once."""

    tags: list[NonEmpty] = Field(default_factory=list)
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _carry_over(cls, data: Any) -> Any:
        return _translated(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _stand_for_one_thing(self) -> AliasFile:
        mistake = _target_mistake([name for name in _TARGET if getattr(self, name) is not None])
        if mistake:
            raise PydanticCustomError("target", "{mistake}", {"mistake": mistake})
        return self

    @property
    def keep_alive_seconds(self) -> float | None:
        """`keep_alive` in seconds, `math.inf` for ever, None where the alias does not say."""
        return None if self.keep_alive is None else parse_duration(self.keep_alive)

    @property
    def files(self) -> dict[str, str]:
        """The paths on this machine that it names, by their fields, as in ``context_params.lora[0]``."""
        context = self.context_params
        named = {"path": self.path, "context_params.mmproj": context.mmproj}
        named |= {f"context_params.lora[{index}]": path for index, path in enumerate(context.lora)}
        return {param: path for param, path in named.items() if path is not None}

    @property
    def document(self) -> dict[str, Any]:
        """What the file says, defaults left out, as JSON knows it; `parse_document` reads it back."""
        return {key: value for key, value in self.model_dump(mode="json", exclude_defaults=True).items() if value != {}}


def parse_document(document: Mapping[str, Any]) -> AliasFile:
    """An alias out of a JSON object.

    Raises:
        AliasProblem: a field is missing, mistyped or out of range; `param` names it.
    """
    try:
        return AliasFile.model_validate(dict(document))
    except ValidationError as error:
        faults = [(render_path(path) or None, reason) for path, reason in _explain_all(error)]
        mistake = _target_mistake([name for name in _TARGET if document.get(name) is not None])
        # What it stands for is looked at only when all fields are right.
        if mistake and all(param is not None for param, _ in faults):
            faults.append((None, mistake))
        param, reason = faults[0]
        raise AliasProblem(reason, param=param, faults=faults) from None


def parse_text(data: bytes) -> AliasFile:
    """An alias out of a file's bytes.

    Raises:
        AliasProblem: it is no alias; `line` tells where.
    """
    return _alias_in(_read(data))


def render(alias: AliasFile, previous: bytes | None = None) -> bytes:
    """The bytes of a file that says `alias`; a `previous` one gives its comments, order and spelling.

    Raises:
        AliasProblem: `previous` is no alias.
    """
    if previous is None:
        return write_yaml(alias.document).encode()
    yaml = _read(previous)
    return yaml.changed(_fields_to_write(alias, _alias_in(yaml), yaml.values), keep=BODHIAPP_FIELDS).encode()


def explain_unwritable(alias: AliasFile) -> AliasProblem | None:
    """Why no file can say `alias`: the field that is not read back as it was written, or the largest of too much."""
    sizes: dict[str, int] = {}
    for param, fields in _parts(alias.document):
        data = write_yaml(fields).encode()
        sizes[param] = len(data)
        try:
            survives = len(data) > MAX_BYTES or same_value(read_yaml(data.decode()).values, fields)
        except YamlProblem:
            survives = False
        if not survives:
            return AliasProblem("an alias's file cannot hold this", param=param)
    if sum(sizes.values()) > MAX_BYTES:
        largest = max(sizes, key=lambda param: sizes[param])
        return AliasProblem(f"an alias's file has at most {MAX_BYTES // 1024} KiB", param=largest)
    return None


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value that has a name of its own, as a document with nothing else in it."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield f"{name}.{key}", {name: {key: inner}}
        else:
            yield name, {name: value}


def _fields_to_write(new: AliasFile, old: AliasFile, written: Mapping[str, Any]) -> dict[str, Any]:
    """The new document, but in the file's own spelling where the meaning is the same."""
    fields, before = new.document, old.document
    same = {name for name in AliasFile.model_fields if same_value(fields.get(name), before.get(name))}
    if not {"request_params", "context_params"} <= same:
        # Raw arguments may feed both: when one changes, neither is kept as it was written.
        same -= {"request_params", "context_params"}
    fields |= {name: written[name] for name in same if name in written}
    return fields


def _alias_in(yaml: YamlDocument) -> AliasFile:
    try:
        return AliasFile.model_validate(yaml.values)
    except ValidationError as error:
        path, reason = _explain(error)
        param = render_path(path)
        reason = f"{param}: {reason}" if param else reason
        raise AliasProblem(reason, param=param or None, line=yaml.line_of(path)) from None


def _read(data: bytes) -> YamlDocument:
    if len(data) > MAX_BYTES:
        raise AliasProblem(f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        return read_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise AliasProblem("the file is not UTF-8 text", line=data.count(b"\n", 0, error.start) + 1) from None
    except YamlProblem as error:
        raise AliasProblem(str(error), line=error.line) from None


def _translated(data: Mapping[str, Any]) -> dict[str, Any]:
    """The document in our own words: BodhiApp's are translated, a field left empty is not there."""
    fields = {key: value for key, value in data.items() if key not in BODHIAPP_FIELDS and value is not None}
    context = fields.get("context_params")
    if isinstance(context, list):
        try:
            translation = translate_args(context)
        except ValueError as error:
            reason = {"field": "context_params", "reason": str(error)}
            raise PydanticCustomError("arguments", "{reason}", reason) from None
    elif isinstance(context, Mapping):
        translation = translate_struct(dict(context))
    else:
        return fields
    fields["context_params"] = translation.context
    request = fields.get("request_params", {})
    if translation.request and isinstance(request, Mapping):
        fields["request_params"] = translation.request | {k: v for k, v in request.items() if v is not None}
    return fields


def _target_mistake(given: Collection[str]) -> str:
    """What is wrong with the fields that say what an alias stands for, by their names; "" for nothing."""
    for one, other in (("repo", "filename"), ("backend", "model")):
        if (one in given) != (other in given):
            return f"'{one}' and '{other}' go together"
    if len({"path", "repo", "backend"}.intersection(given)) != 1:
        return "exactly one of 'path', 'repo' and 'backend' is expected"
    if "snapshot" in given and "repo" not in given:
        return "'snapshot' goes with 'repo'"
    return ""


def _explain(error: ValidationError) -> tuple[Location, str]:
    """The first mistake."""
    return _explain_all(error)[0]


def _explain_all(error: ValidationError) -> list[tuple[Location, str]]:
    """The first mistakes, deep ones first: their places without the names of union branches, and what is wrong."""
    entries: dict[Location, list[ErrorDetails]] = {}
    for entry in error.errors():
        entries.setdefault(_place(entry), []).append(entry)
    # Where something inside a value is wrong, another branch of a union has refused the value as a whole.
    around = {place[:end] for place in entries for end in range(len(place))}
    places = sorted((place for place in entries if place not in around), key=len, reverse=True)
    return [(place, _why(entries[place])) for place in places[:MOST_FAULTS]]


def _why(entries: Sequence[ErrorDetails]) -> str:
    # A branch of a union that took the value's type and refused the value says more than one that refused the type.
    fitting = [entry for entry in entries if not entry["type"].endswith("_type")]
    return " or ".join(dict.fromkeys(_reason(entry) for entry in fitting or entries))


#: How pydantic names the branches of a union in an error's location.
_BRANCH = re.compile(r"str|int|float|bool|(list|literal)\[.*|(constrained|function)-.*")


def _place(entry: ErrorDetails) -> Location:
    """Where it is in the document; our own errors of a whole object name the field to blame in their context."""
    steps = (*entry["loc"], *([entry["ctx"]["field"]] if "field" in entry.get("ctx", {}) else []))
    return tuple(step for step in steps if not (isinstance(step, str) and _BRANCH.fullmatch(step)))


#: What pydantic's kinds of errors mean for a person (its documentation, "Validation Errors").
_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "model_type": "an object is expected",
    "list_type": "expected a list",
    "string_type": "expected a string",
    # Only `repo` has a pattern.
    "string_pattern_mismatch": "expected 'organisation/name', or a name, of letters, digits and . _ -",
    "string_too_short": "expected at least {min_length} character",
    "too_long": "expected at most {max_length} values",
    "literal_error": "expected {expected}",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "less_than": "expected less than {lt}",
    "finite_number": "expected a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "expected an integer"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected a boolean"),
}


def _reason(entry: ErrorDetails) -> str:
    if words := _WORDS.get(entry["type"]):
        limits = entry.get("ctx", {}).items()
        return words.format(**{name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in limits})
    message = entry["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
