"""Ollama's requests that make models out of others, and what they come to in an alias's own words. Pure."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict, Field

from .errors import InvalidField, NotSupported
from .lenient import Items
from .ollama import OllamaRequest
from .ollama_messages import OllamaModel
from .ollama_options import as_go_has_them, check_options

#: Ollama's names of what a request brings (Modelfile reference, "PARAMETER"), as an alias's `request_params`.
_REQUEST = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
    "seed": "seed",
    "stop": "stop",
    "num_keep": "n_keep",
    "num_predict": "max_tokens",
}
#: What is fixed when a model is loaded, as an alias's `context_params`.
_CONTEXT = {"num_ctx": "n_ctx", "num_gpu": "n_gpu_layers", "num_thread": "n_threads"}
#: Ollama's own tuning: taken, and of no effect, as with a request's options.
_IGNORED = frozenset(
    {
        "num_batch",
        "main_gpu",
        "use_mmap",
        "use_mlock",
        "numa",
        "low_vram",
        "f16_kv",
        "vocab_only",
        "logits_all",
        "embedding_only",
        "penalize_newline",
        "tfs_z",
        "draft_num_predict",
    }
)
#: Any random seed, no limit: what happens without the parameter.
_UNSET_WHEN_NEGATIVE = frozenset({"seed", "num_predict"})

#: What a Go template has and a Jinja one cannot: a field, a variable, or a control word in double braces.
_GO_TEMPLATE = re.compile(r"\{\{-?\s*(?:[.$]|(?:if|else|end|range|with|define|block|template)\b)")

#: Marks what the model wrote, for training; llama.cpp passes over it.
_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")


class OllamaCreateRequest(OllamaRequest):
    """``POST /api/create``. Unknown fields are passed over, as Ollama does."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    source: str | None = Field(None, validation_alias="from")
    """The model it is made from."""

    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    license: str | Items[str] | None = None
    """Taken, and not kept: an alias has no licence of its own."""

    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Any] | None = None
    quantize: str | None = None
    quantization: str | None = None
    """The older name of `quantize`."""

    modelfile: str | None = None
    path: str | None = None
    stream: bool = True


class OllamaCopyRequest(OllamaModel):
    """``POST /api/copy``."""

    source: str = ""
    destination: str = ""


def check_create(request: OllamaCreateRequest) -> str:
    """The name of the model it is made from.

    Raises:
        NotSupported: it asks for weights to be made: files, adapters, a quantization.
        InvalidField: it has no model to be made from, or something an alias cannot hold.
    """
    for name in ("files", "adapters", "quantize", "quantization"):
        if getattr(request, name):
            raise NotSupported(f"'{name}' is not supported here: a model is made from an existing one ('from')")
    if request.modelfile or request.path:
        raise InvalidField(
            "a Modelfile is not read here: send 'from', 'system', 'parameters' and 'template' instead",
            param="modelfile" if request.modelfile else "path",
        )
    if request.messages:
        raise InvalidField("'messages' are not supported here: a model cannot bring messages", param="messages")
    if not request.source:
        raise InvalidField("neither 'from' or 'files' was specified", param="from")
    return request.source


def created_document(base: dict[str, Any], request: OllamaCreateRequest) -> dict[str, Any]:
    """The alias's document that `request` makes of `base`, the document of the model it is made from.

    Args:
        base: fields of an alias file, under its new name; not changed.
        request: one that `check_create` has passed.

    Raises:
        InvalidField: a parameter is unknown or mistyped, the template is none that llama.cpp reads, or the model runs
            elsewhere and is loaded there.
    """
    params, context = dict(base.get("request_params", {})), dict(base.get("context_params", {}))
    added_params, added_context = _translated(_checked(request.parameters or {}), context.get("n_parallel") or 1)
    if request.system:
        added_params["system_prompt"] = request.system
    if request.template:
        added_context["chat_template"] = _jinja(request.template)
    if added_context and "backend" in base:
        raise InvalidField(
            "'template' and the parameters num_ctx, num_gpu and num_thread are fixed where the model is loaded, and "
            "this one is loaded by a configured server",
            param="parameters",
        )
    document = dict(base)
    if params | added_params:
        document["request_params"] = _merged(params, added_params)
    if context | added_context:
        document["context_params"] = context | added_context
    return document


def ollama_parameters(params: dict[str, Any], context: dict[str, Any]) -> list[tuple[str, Any]]:
    """An alias's `request_params` and `context_params` under Ollama's names; each stop sequence is a pair."""
    found = [(theirs, context[ours]) for theirs, ours in _CONTEXT.items() if context.get(ours) is not None]
    for theirs, ours in _REQUEST.items():
        value = params.get("max_completion_tokens") if ours == "max_tokens" and ours not in params else params.get(ours)
        if value is not None:
            found += [(theirs, one) for one in value] if isinstance(value, list) else [(theirs, value)]
    return sorted(found)


def _checked(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are set, whole numbers where they have to be."""
    try:
        check_options(parameters)
    except InvalidField as error:
        # 400, where a request's options are 500 in Ollama: it does not look at these before the model is loaded.
        field = (error.param or "").replace("options.", "parameters.", 1)
        raise InvalidField(error.message.replace("option ", "parameter ", 1), param=field, code=error.code) from None
    return as_go_has_them(parameters)


def _translated(parameters: dict[str, Any], slots: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`request_params` and `context_params`; their values are checked where the alias is."""
    request: dict[str, Any] = {}
    context: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in _IGNORED or (name in _UNSET_WHEN_NEGATIVE and _is_negative(value)):
            continue
        if name in _REQUEST:
            request[_REQUEST[name]] = value
        elif name in _CONTEXT:
            context[_CONTEXT[name]] = value
        else:
            raise InvalidField(f"unknown parameter '{name}'", param=f"parameters.{name}")
    if isinstance(context.get("n_ctx"), int):
        context["n_ctx"] *= slots  # Ollama's is one request's, llama.cpp's is that of all slots together
    if _is_negative(request.get("repeat_last_n", 0)):
        del request["repeat_last_n"]  # all of the context; llama.cpp's body field has no word for that
        if "num_ctx" in parameters:
            request["repeat_last_n"] = parameters["num_ctx"]
    return request, context


def _merged(base: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Both, where a new limit of tokens replaces an old one of the other name."""
    if "max_tokens" in added:
        base = {name: value for name, value in base.items() if name != "max_completion_tokens"}
    return base | added


def _jinja(template: str) -> str:
    if _GO_TEMPLATE.search(template):
        raise InvalidField(
            "'template' is in Ollama's Go syntax, which llama.cpp does not read: leave it out to use the model's own, "
            "or send a Jinja template",
            param="template",
        )
    try:
        _parse_jinja(template)
    except (ValueError, RecursionError) as error:
        raise InvalidField(f"'template' is no Jinja template: {str(error)[:200]}", param="template") from None
    return template


def _parse_jinja(template: str) -> None:
    """Parse a chat template: Jinja with two additions of Hugging Face's (transformers, chat templates).

    Raises:
        ValueError: it is not well-formed.
        RecursionError: it is nested too deeply.
    """
    import jinja2

    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=False)  # noqa: S701 - parsed only
    try:
        environment.parse(_GENERATION.sub("", template))
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"{error.message} (line {error.lineno})") from None


def _is_negative(value: object) -> bool:
    return isinstance(value, int | float) and value < 0
