"""What an engine is told, worked out from an alias's parameters."""

from pathlib import Path

import pytest

from bodhi_jupyter.backends.launch import BinaryLauncher, EmbeddedLauncher, EngineSpec, Settings, child_environment
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.wire.errors import BackendUnavailable

MODEL = Path("models") / "m.gguf"


def test_defaults_suit_a_notebook_server() -> None:
    settings = Settings.of(ContextParams())
    assert (settings.n_ctx, settings.n_parallel) == (4096, 1)
    assert (settings.embeddings, settings.pooling, settings.reranking) == (True, "mean", False)
    assert settings.cache_ram_mib == 256
    assert settings.batch == 512


@pytest.mark.parametrize(
    ("context", "embeddings", "pooling", "batch"),
    [
        (ContextParams(embeddings=False), False, None, None),
        (ContextParams(embeddings=False, pooling="cls"), False, None, None),
        (ContextParams(embeddings=True), True, "mean", 2048),
        (ContextParams(pooling="cls"), True, "cls", 512),
        # llama.cpp aborts on a batch that is no multiple of the slots.
        (ContextParams(n_parallel=3), True, "mean", 513),
        (ContextParams(n_parallel=7, embeddings=True), True, "mean", 2051),
        (ContextParams(n_parallel=3, embeddings=False), False, None, None),
        (ContextParams(reranking=True), True, "rank", 2048),
        (ContextParams(reranking=True, embeddings=False), True, "rank", 2048),
    ],
)
def test_embeddings_and_pooling(
    context: ContextParams, embeddings: bool, pooling: str | None, batch: int | None
) -> None:
    settings = Settings.of(context)
    assert (settings.embeddings, settings.pooling, settings.batch) == (embeddings, pooling, batch)


@pytest.mark.parametrize(
    ("context", "own", "pooling", "reranking"),
    [
        *((ContextParams(), own, own, False) for own in ("mean", "cls", "last")),
        # A chat model has none, and its vectors are asked for all the same.
        *((ContextParams(), own, "mean", False) for own in (None, "none")),
        (ContextParams(pooling="mean"), "last", "mean", False),
        (ContextParams(embeddings=False), "cls", None, False),
        (ContextParams(reranking=True), "cls", "rank", True),
        # A file that says `rank` is a reranker's.
        (ContextParams(), "rank", "rank", True),
        (ContextParams(pooling="rank"), "rank", "rank", True),
        (ContextParams(reranking=False), "rank", "mean", False),
        (ContextParams(pooling="cls"), "rank", "cls", False),
    ],
)
def test_the_models_own_pooling(context: ContextParams, own: str | None, pooling: str | None, reranking: bool) -> None:
    settings = Settings.of(context, own)
    assert (settings.pooling, settings.reranking) == (pooling, reranking)


def test_both_kinds_of_engine_hear_of_it() -> None:
    spec = EngineSpec("m", MODEL, own_pooling="last")
    assert "--pooling last" in " ".join(BinaryLauncher("llama-server").configuration(spec, "secret")["command"])
    assert EmbeddedLauncher().configuration(spec, "secret")["settings"]["pooling"] == "last"


def test_the_command_line_of_a_binary() -> None:
    context = ContextParams(
        n_ctx=0, n_parallel=2, n_gpu_layers=99, flash_attention=True, lora=["a.gguf", "b.gguf"], extra_args=["--mlock"]
    )
    configuration = BinaryLauncher("llama-server").configuration(EngineSpec("m", MODEL, context), "secret")
    command = configuration["command"]
    assert command[1] == "--mlock"
    assert "secret" not in " ".join(command)
    given = " ".join(command)
    for expected in (
        f"--model {MODEL} --alias m --host 127.0.0.1 --port 0",
        "--no-webui",
        "--ctx-size 0",
        "--parallel 2",
        "--n-gpu-layers 99",
        "--flash-attn on",
        "--embeddings",
        "--pooling mean",
        "--lora a.gguf --lora b.gguf",
    ):
        assert expected in given
    assert "--kv-unified" not in given
    assert "--threads" not in given


@pytest.mark.parametrize(
    "argument", ["--host", "--port=80", "--api-key", "-m", "--log-file", "--model-url", "-hf", "--models-dir"]
)
def test_what_an_alias_may_not_decide(argument: str) -> None:
    spec = EngineSpec("m", MODEL, ContextParams(extra_args=[argument]))
    with pytest.raises(BackendUnavailable, match=argument.partition("=")[0]):
        BinaryLauncher("llama-server").configuration(spec, "secret")


def test_a_binary_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    binary = tmp_path / "llama-server.exe"
    binary.touch(0o755)
    launcher = BinaryLauncher("~/llama-server.exe")
    assert launcher.unavailable() is None
    command = launcher.configuration(EngineSpec("m", MODEL), "key")["command"]
    assert Path(command[0]) == binary


def test_why_an_engine_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EmbeddedLauncher().unavailable() is None
    reason = BinaryLauncher("/nowhere/llama-server").unavailable()
    assert reason is not None
    assert "nowhere" not in reason
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "xllamacpp" in (EmbeddedLauncher().unavailable() or "")


def test_secrets_and_llama_variables_stay_with_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BODHI_BACKEND_API_KEY", "LLAMA_API_KEY", "LLAMA_ARG_HOST", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "x")
    environment = child_environment()
    assert environment["CUDA_VISIBLE_DEVICES"] == "x"
    assert not any(name.startswith(("BODHI_", "LLAMA_")) for name in environment)
