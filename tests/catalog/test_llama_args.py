import pytest

from bodhi_jupyter.catalog.llama_args import translate_args, translate_struct


@pytest.mark.parametrize(
    ("items", "context", "request_params"),
    [
        (["--ctx-size 2048", "--parallel 1"], {"n_ctx": "2048", "n_parallel": "1"}, {}),
        (["--ctx-size", "2048", "-np", "1"], {"n_ctx": "2048", "n_parallel": "1"}, {}),
        (["-c 2048 -ngl 99 -t 4"], {"n_ctx": "2048", "n_gpu_layers": "99", "n_threads": "4"}, {}),
        (["--jinja"], {}, {}),
        (["--embeddings", "--pooling cls"], {"embeddings": True, "pooling": "cls"}, {}),
        (["--reranking"], {"reranking": True}, {}),
        (["-fa"], {"flash_attention": True}, {}),
        (["-fa", "--jinja"], {"flash_attention": True}, {}),
        (["--flash-attn off", "-np 2"], {"flash_attention": False, "n_parallel": "2"}, {}),
        (["--flash-attn auto"], {"flash_attention": "auto"}, {}),
        (["--flash-attn true"], {"flash_attention": True}, {}),
        (["-fa", "enabled", "-np 2"], {"flash_attention": True, "n_parallel": "2"}, {}),
        (["-fa 1"], {"flash_attention": True}, {}),
        (["-fa false"], {"flash_attention": False}, {}),
        (["-fa disabled"], {"flash_attention": False}, {}),
        (["-fa 0"], {"flash_attention": False}, {}),
        (["-fa -1 -c 8"], {"flash_attention": "auto", "n_ctx": "8"}, {}),
        (["--lora a.gguf", "--lora 'b c.gguf'"], {"lora": ["a.gguf", "b c.gguf"]}, {}),
        ([r"--mmproj C:\models\eye.gguf"], {"mmproj": r"C:\models\eye.gguf"}, {}),
        (["--seed 42", "--predict 256", "--keep 8"], {}, {"seed": 42, "max_tokens": 256, "n_keep": 8}),
        (["--temp 0.5", "--top-k 20", "--min-p 0.1"], {}, {"temperature": 0.5, "top_k": 20, "min_p": 0.1}),
        (["--temperature 0.7"], {}, {"temperature": 0.7}),
        (["--repeat-last-n 64", "--typical 0.9"], {}, {"repeat_last_n": 64, "typical_p": 0.9}),
        (["--typical-p 0.9", "--top-nsigma 1.5"], {}, {"typical_p": 0.9, "top_n_sigma": 1.5}),
        (["--top-n-sigma 1", "--xtc-threshold 0.2"], {}, {"top_n_sigma": 1, "xtc_threshold": 0.2}),
        (["--xtc-probability 0.5", "--dry-base 1.5"], {}, {"xtc_probability": 0.5, "dry_base": 1.5}),
        (["--dry-multiplier 0.8", "--dry-allowed-length 3"], {}, {"dry_multiplier": 0.8, "dry_allowed_length": 3}),
        (["--dynatemp-range 0.5", "--dynatemp-exp 2"], {}, {"dynatemp_range": 0.5, "dynatemp_exponent": 2}),
        (["--mirostat 2", "--mirostat-lr 0.2"], {}, {"mirostat": 2, "mirostat_eta": 0.2}),
        (["--mirostat-ent 4"], {}, {"mirostat_tau": 4}),
        (["--seed -1", "-n -1"], {}, {}),
        (["--repeat-last-n -1", "--dry-penalty-last-n -1"], {}, {}),
        (["--repeat-last-n 0", "--dry-penalty-last-n 9"], {}, {"repeat_last_n": 0, "dry_penalty_last_n": 9}),
        (["--top_k 4", "--repeat_last_n", "64"], {}, {"top_k": 4, "repeat_last_n": 64}),
        (["--ctx_size 8", "--flash_attn off"], {"n_ctx": "8", "flash_attention": False}, {}),
        (["--cache_type_k q8_0"], {"cache_type_k": "q8_0"}, {}),
        (["--chat_template_kwargs {}"], {"extra_args": ["--chat_template_kwargs", "{}"]}, {}),
        (["--top-k=4 -c 8"], {"n_ctx": "8", "extra_args": ["--top-k=4"]}, {}),
        (["--mlock", "-c 8", "--numa numactl"], {"n_ctx": "8", "extra_args": ["--mlock", "--numa", "numactl"]}, {}),
        ([], {}, {}),
    ],
)  # fmt: skip
def test_arguments(items, context, request_params):
    found = translate_args(items)
    assert (found.context, found.request) == (context, request_params)


@pytest.mark.parametrize(
    ("items", "reason"),
    [(["--ctx-size"], "needs a value"), ([4], "must be a string"), (["--lora 'a"], "quotation does not end")],
)
def test_refused(items, reason):
    with pytest.raises(ValueError, match=reason):
        translate_args(items)


def test_the_older_struct():
    found = translate_struct({"n_seed": 7, "n_threads": 2, "n_ctx": 512, "n_parallel": 4, "n_predict": 9, "n_keep": 1})
    assert found.context == {"n_threads": 2, "n_ctx": 512, "n_parallel": 4}
    assert found.request == {"seed": 7, "max_tokens": 9, "n_keep": 1}
