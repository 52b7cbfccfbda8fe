"""Makes the Hugging Face folder that a GGUF of the Llama architecture could have come from: the inverse of what
`shoal models import` does, written from the formats and not from its code."""
import json
import re

import gguf
import numpy as np
from safetensors.numpy import save_file

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
WHOLE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
         "output.weight": "lm_head.weight"}
SPACE = "\u2581"


def metadata(reader):
    return {key: field.contents() for key, field in reader.fields.items()}


def halves_first(matrix, heads):
    """Rows of a head from (pair, side), where the two that rotate together are neighbours, to (side, pair)."""
    rows, columns = matrix.shape
    pairs = matrix.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)).reshape(rows, columns)


def tensors(reader, meta, kind):
    heads, kv_heads = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    made = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(kind)
        if tensor.name in WHOLE:
            made[WHOLE[tensor.name]] = values
            continue
        layer, part = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor.name).groups()
        if part in ("attn_q", "attn_k"):
            values = halves_first(values, heads if part == "attn_q" else kv_heads)
        made[f"model.layers.{layer}.{NAMES[part]}.weight"] = values
    return made


def config(meta, tied):
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
            "hidden_size": meta["llama.embedding_length"], "intermediate_size": meta["llama.feed_forward_length"],
            "num_hidden_layers": meta["llama.block_count"], "num_attention_heads": meta["llama.attention.head_count"],
            "num_key_value_heads": meta["llama.attention.head_count_kv"],
            "max_position_embeddings": meta["llama.context_length"],
            "rms_norm_eps": round(meta["llama.attention.layer_norm_rms_epsilon"], 12),
            "rope_theta": meta.get("llama.rope.freq_base", 10000.0), "rope_scaling": None,
            "vocab_size": len(meta["tokenizer.ggml.tokens"]), "tie_word_embeddings": tied}


def added(tokens, ids):
    return [{"id": i, "content": tokens[i], "special": True, "normalized": False, "lstrip": False, "rstrip": False,
             "single_word": False} for i in ids]


def byte_level_tokenizer(meta, pairs_as_lists):
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    merges = meta["tokenizer.ggml.merges"]
    model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "byte_fallback": False,
             "merges": [merge.split(" ") for merge in merges] if pairs_as_lists else list(merges)}
    digits = {"type": "Digits", "individual_digits": True}
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": added(tokens, [i for i, kind in enumerate(types) if kind == 3]),
            "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, by_bytes]},
            "post_processor": None, "decoder": by_bytes, "model": model}


def merges_of_pieces(tokens, scores, usable):
    """As transformers derives them from a SentencePiece model: every way to make a piece of two, best piece first."""
    ids = {tokens[i]: i for i in usable}
    merges = []
    for i in usable:
        ways = [(tokens[i][:cut], tokens[i][cut:]) for cut in range(1, len(tokens[i]))]
        ways = [way for way in ways if way[0] in ids and way[1] in ids]
        merges += [(scores[i], way) for way in sorted(ways, key=lambda way: (ids[way[0]], ids[way[1]]))]
    return [list(way) for _, way in sorted(merges, key=lambda merge: -merge[0])]


def sentencepiece_tokenizer(meta):
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    usable = [i for i, kind in enumerate(types) if kind == 1]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
             "vocab": {token: i for i, token in enumerate(tokens)},
             "merges": merges_of_pieces(tokens, meta["tokenizer.ggml.scores"], usable)}
    marks = [{"type": "Prepend", "prepend": SPACE}, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]
    undone = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
              {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    post = {"type": "TemplateProcessing", "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, bos, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return {"version": "1.0", "added_tokens": added(tokens, [0, 1, 2]), "pre_tokenizer": None, "post_processor": post,
            "normalizer": {"type": "Sequence", "normalizers": marks},
            "decoder": {"type": "Sequence", "decoders": undone}, "model": model}


def save(folder, weights, shards):
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, where = sorted(weights), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def make(path, folder, *, kind=np.float32, shards=1, pairs_as_lists=True):
    """Writes the folder and returns the GGUF's metadata."""
    folder.mkdir()
    reader = gguf.GGUFReader(path)
    meta = metadata(reader)
    weights = tensors(reader, meta, kind)
    is_spm = meta["tokenizer.ggml.model"] == "llama"
    tokens = meta["tokenizer.ggml.tokens"]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
                "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]], "unk_token": tokens[0]}
    if "tokenizer.chat_template" in meta:
        settings["chat_template"] = meta["tokenizer.chat_template"]
    tokenizer = sentencepiece_tokenizer(meta) if is_spm else byte_level_tokenizer(meta, pairs_as_lists)
    for name, content in (("config.json", config(meta, "lm_head.weight" not in weights)),
                          ("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content))
    save(folder, weights, shards)
    return meta
