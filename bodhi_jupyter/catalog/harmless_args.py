"""Which arguments of `llama-server` anybody may give a model: those that read, write and run nothing, and go nowhere.

The others name files to read and to write, addresses, and even programs to run (``--mcp-servers-json``). Names are from
the llama.cpp server README. A name that a later release adds is none of these until it is written here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .llama_args import argument_name

_NAMES = """
-t --threads -tb --threads-batch -C --cpu-mask -Cr --cpu-range --cpu-strict -Cb --cpu-mask-batch
-Crb --cpu-range-batch --cpu-strict-batch --poll --poll-batch --numa --threads-http

-c --ctx-size -np --parallel -b --batch-size -ub --ubatch-size -n --predict --n-predict --keep
-kvu --kv-unified -no-kvu --no-kv-unified -cb --cont-batching -nocb --no-cont-batching
--context-shift --no-context-shift --swa-full -ctxcp --ctx-checkpoints --swa-checkpoints
-cms --checkpoint-min-step -cram --cache-ram --cache-idle-slots --no-cache-idle-slots
--cache-prompt --no-cache-prompt --cache-reuse -sps --slot-prompt-similarity

--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale
--yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast

--mlock --mmap --no-mmap -lm --load-mode -lzm --lazy-mode -fa --flash-attn -ctk --cache-type-k -ctv --cache-type-v
-kvo --kv-offload -nkvo --no-kv-offload --repack -nr --no-repack --no-host --op-offload --no-op-offload
-dt --defrag-thold --check-tensors --override-kv --warmup --no-warmup

-dev --device -ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu
-ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe --moe-cache-mib -ncffn --n-cpu-ffn
-fit --fit -fitt --fit-target -fitc --fit-ctx

--samplers -s --seed --sampler-seq --sampling-seq --ignore-eos --temp --temperature --top-k --top-p --min-p
--top-nsigma --top-n-sigma --xtc-probability --xtc-threshold --typical --typical-p
--repeat-last-n --repeat-penalty --presence-penalty --frequency-penalty
--dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker
--adaptive-target --adaptive-decay --dynatemp-range --dynatemp-exp --mirostat --mirostat-lr --mirostat-ent
-l --logit-bias -bs --backend-sampling

--spec-type --spec-default --spec-draft-n-max --spec-draft-n-min --spec-ngram-mod-n-min --spec-ngram-mod-n-max
--spec-ngram-mod-n-match --spec-ngram-simple-size-n --spec-ngram-simple-size-m --spec-ngram-simple-min-hits
--spec-ngram-map-k-size-n --spec-ngram-map-k-size-m --spec-ngram-map-k-min-hits
--spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits

--jinja --no-jinja --chat-template --chat-template-kwargs --skip-chat-parsing --no-skip-chat-parsing
--prefill-assistant --no-prefill-assistant --reasoning-format -rea --reasoning --reasoning-effort
--reasoning-budget --reasoning-budget-message --reasoning-preserve --no-reasoning-preserve
-sp --special --spm-infill --pooling --embedding --embeddings --rerank --reranking --embd-normalize
--image-min-tokens --image-max-tokens --mtmd-batch-max-tokens --mmproj-offload --no-mmproj-offload
"""
_HARMLESS = frozenset(_NAMES.split())
_NUMBER = re.compile(r"-[0-9.]+")


def harmful_in(arguments: Sequence[str]) -> str | None:
    """The name of the first argument that not everybody may give; None where there is none.

    A word without a hyphen is a value.
    """
    for argument in arguments:
        name = argument_name(argument)
        if name.startswith("-") and name not in _HARMLESS and not _NUMBER.fullmatch(argument):
            return name
    return None
