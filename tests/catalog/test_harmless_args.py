"""Which arguments for llama-server anybody may give."""

import pytest

from bodhi_jupyter.catalog.harmless_args import harmful_in


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--mlock"],
        ["--numa", "numactl", "-ts", "3,1"],
        ["--rope_freq_base", "10000", "--yarn-ext-factor", "-1.0", "-t", "-1"],
        ["-ot", "blk.*=CPU", "--override-kv", "a.b=int:3", "--flash-attn=on"],
        ["--chat-template-kwargs", '{"enable_thinking": false}'],
        # Not an argument of llama-server's, which refuses it.
        ["/etc/passwd"],
    ],
)
def test_what_computes_is_everybodys(arguments: list[str]) -> None:
    assert harmful_in(arguments) is None


HARMFUL = """
--chat-template-file --grammar-file --json-schema-file -jf --model-url -mu --hf-repo -hf -hfr --hf-file --hf-token
--docker-repo --mmproj --mmproj-url -mm -mmu --lora --lora-scaled --control-vector --model-draft -md
--spec-draft-model --hf-repo-draft --lookup-cache-static -lcs --lookup-cache-dynamic -lcd --slot-save-path --path
--media-path --models-dir --models-preset --log-file --log-prompts-dir --video-ffmpeg-dir --rpc --tools --agent
--tools-runtime --mcp-servers-config --mcp-servers-json --webui-mcp-proxy --ui-config-file --host --port
--api-key --api-key-file --ssl-key-file --cors-origins --props --verbose -v --gpt-oss-20b-default --new-in-2027 - --
"""


@pytest.mark.parametrize("name", HARMFUL.split())
@pytest.mark.parametrize("write", ["{}", "{}=x"])
def test_what_reads_writes_runs_or_listens_is_not(name: str, write: str) -> None:
    assert harmful_in(["--threads", "2", write.format(name), "x"]) == name


def test_it_cannot_be_spelled_so_that_it_is_not_seen() -> None:
    assert harmful_in(["--slot_save_path", "/tmp"]) == "--slot-save-path"
    assert harmful_in(["--threads", "--mcp_servers_json", "{}"]) == "--mcp-servers-json"
