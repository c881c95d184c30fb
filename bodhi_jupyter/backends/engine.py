"""The embedded engine: ``python -P -m bodhi_jupyter.backends.engine``.

Hears its configuration on standard input (see `launch.EmbeddedLauncher`), starts llama.cpp's server on a free
loopback port, answers ``{"port": 1234}`` or ``{"error": "..."}``, and lives until standard input closes.
The key is in the configuration only: arguments and environment can be read by others.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .child import Parent

if TYPE_CHECKING:
    import xllamacpp

#: Warnings and errors; llama.cpp tells more than a thousand lines otherwise.
_VERBOSITY = 2


def main() -> int:
    """Serve until the parent goes; 1 when the model cannot be loaded, for which the log has the reason."""
    parent = Parent()
    configuration = parent.hear()
    try:
        import xllamacpp

        server = xllamacpp.Server(_parameters(configuration))
    except (ImportError, AttributeError, KeyError) as error:
        parent.tell(error=f"this version of xllamacpp cannot be used ({error})")
        return 1
    except Exception as error:
        parent.tell(error=str(error))
        return 1
    parent.tell(port=urlsplit(server.listening_address).port)
    threading.Event().wait()  # the parent's end is ours
    return 0


def _parameters(configuration: dict[str, Any]) -> xllamacpp.CommonParams:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = configuration["model_path"]
    parameters.model_alias = {configuration["alias"]}
    parameters.api_keys = [configuration["api_key"]]
    parameters.verbosity = _VERBOSITY

    # Loopback, a free port, and nothing for browsers: llama.cpp brings a web UI and allows every origin.
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = False
    parameters.cors_origins = ""
    parameters.cors_credentials = False
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = True
    parameters.use_jinja = True

    _apply(parameters, configuration["settings"])
    return parameters


def _apply(parameters: xllamacpp.CommonParams, settings: dict[str, Any]) -> None:
    """Carry `launch.Settings` over; what is None stays as llama.cpp has it."""
    import xllamacpp

    parameters.n_ctx = settings["n_ctx"]
    parameters.n_parallel = settings["n_parallel"]
    parameters.kv_unified = False
    parameters.cache_ram_mib = settings["cache_ram_mib"]
    parameters.embedding = settings["embeddings"]
    if (pooling := settings["pooling"]) is not None:
        parameters.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{pooling.upper()}"]
    if (batch := settings["batch"]) is not None:
        parameters.n_batch = batch
        parameters.n_ubatch = batch
    if (layers := settings["n_gpu_layers"]) is not None:
        parameters.n_gpu_layers = layers
    if (threads := settings["n_threads"]) is not None:
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
    if (template := settings["chat_template"]) is not None:
        parameters.chat_template = template
    if (projector := settings["mmproj"]) is not None:
        parameters.mmproj.path = projector
    parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in settings["lora"]]
    if (attention := settings["flash_attention"]) is not None:
        state = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}[attention]
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{state}"]
    for cache in ("cache_type_k", "cache_type_v"):
        if (number_format := settings[cache]) is not None:
            setattr(parameters, cache, xllamacpp.ggml_type[f"GGML_TYPE_{number_format.upper()}"])


if __name__ == "__main__":
    raise SystemExit(main())
