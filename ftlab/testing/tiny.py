"""A tiny model and a tiny task, made on the spot: everything but the quality of a real one, in milliseconds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|im_end|>"
START = "<|im_start|>"
TEXT_END = "<|endoftext|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_CORPUS = [
    "the patient asks about the heart and the lungs",
    "system user assistant",
    "name the label of the question",
    "red green blue black white",
]


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a random Llama model (2 layers, hidden size 32, about 300 tokens) with its tokenizer to `folder`.

    The tokenizer is a byte-level BPE, so that it can spell any text, and has the chat template of the ChatML family.
    Equal seeds give equal weights. Returns `folder`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids(START),
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(TEXT_END),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_rows(n: int, labels: Sequence[str] = ("red", "green", "blue"), seed: int = 0) -> list[dict[str, str]]:
    """`n` distinct rows `{"question", "label"}` that even the tiny model learns: the question names its label.

    Labels take turns, so that their counts differ by at most one.
    """
    chance = random.Random(seed)
    rows = []
    for index in range(n):
        label = labels[index % len(labels)]
        filler = " ".join(chance.choice(_CORPUS).split()[chance.randrange(3)] for _ in range(2))
        rows.append({"question": f"{filler} {index} {label}", "label": label})
    chance.shuffle(rows)
    return rows


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[TEXT_END, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=START,
        eos_token=END,
        pad_token=TEXT_END,
        unk_token=TEXT_END,
        additional_special_tokens=[AddedToken(START, special=True), AddedToken(END, special=True)],
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
