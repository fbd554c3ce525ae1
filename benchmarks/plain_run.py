"""One run the way a careful user writes it without ftlab: TRL's trainer with its defaults, transformers' generate.

This is the yardstick of `shell_loop` and `one_arm`: no idea of ftlab's is used here, so it must not import ftlab.
Usage: python benchmarks/plain_run.py RUN.json, where RUN.json holds
{model, train: [{messages, answer}], validation: [...], labels, method, out, max_new_tokens}.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def train(run: dict[str, Any], tokenizer: Any) -> Any:
    """Fine-tune with TRL's defaults and the run's hyperparameters; the loss is on the completion only."""
    method = run["method"]
    rows = [
        {"prompt": row["messages"], "completion": [{"role": "assistant", "content": row["answer"]}]}
        for row in run["train"]
    ]
    model = AutoModelForCausalLM.from_pretrained(run["model"], dtype=torch.float32)
    peft = None
    if method["type"] == "lora":
        alpha = method["lora_alpha"] or 2 * method["r"]
        peft = LoraConfig(
            r=method["r"],
            lora_alpha=alpha,
            lora_dropout=method["lora_dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
    config = SFTConfig(
        output_dir=f"{run['out']}/trainer",
        num_train_epochs=method["epochs"],
        per_device_train_batch_size=method["batch_size"],
        gradient_accumulation_steps=method["gradient_accumulation_steps"],
        learning_rate=method["learning_rate"],
        lr_scheduler_type=method["lr_scheduler_type"],
        warmup_steps=method["warmup_ratio"],  # below 1: a share of all steps
        weight_decay=method["weight_decay"],
        max_grad_norm=method["max_grad_norm"],
        max_length=method["max_length"],
        seed=run["seed"],
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=peft
    )
    trainer.train()
    trainer.save_model(run["out"])
    return trainer.model


@torch.inference_mode()
def generate(model: Any, tokenizer: Any, run: dict[str, Any], batch_size: int = 8) -> list[str]:
    """Greedy answers to the validation rows, in batches."""
    outputs: list[str] = []
    rows = run["validation"]
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        inputs = tokenizer.apply_chat_template(
            [row["messages"] for row in batch],
            add_generation_prompt=True,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            return_dict=True,
        )
        generated = model.generate(
            **inputs, max_new_tokens=run["max_new_tokens"], do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        answers = generated[:, inputs["input_ids"].shape[1] :]
        outputs += tokenizer.batch_decode(answers, skip_special_tokens=True)
    return outputs


@torch.inference_mode()
def choose(model: Any, tokenizer: Any, run: dict[str, Any]) -> list[str]:
    """The likeliest label of every row: one forward over its prompt, one from there over all labels."""
    labels = tokenizer(
        [f"{label}{tokenizer.eos_token}" for label in run["labels"]],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    ids, mask = labels["input_ids"], labels["attention_mask"]
    outputs: list[str] = []
    for row in run["validation"]:
        prompt = tokenizer.apply_chat_template(
            row["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        read = model(**prompt, use_cache=True, logits_to_keep=1)
        read.past_key_values.batch_repeat_interleave(len(ids))
        whole = torch.cat([prompt["attention_mask"].expand(len(ids), -1), mask[:, :-1]], dim=1)
        told = model(input_ids=ids[:, :-1], attention_mask=whole, past_key_values=read.past_key_values).logits
        scores = torch.cat([read.logits.expand(len(ids), -1, -1), told], dim=1).log_softmax(-1)
        picked = scores.gather(-1, ids[..., None])[..., 0] * mask
        outputs.append(run["labels"][int(picked.sum(-1).argmax())])
    return outputs


def main() -> None:
    """Train if the method trains, answer the validation rows, print accuracy and seconds as JSON."""
    run = json.loads(Path(sys.argv[1]).read_text())
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(run["model"])
    if run["method"]["type"] == "prompt":
        model = AutoModelForCausalLM.from_pretrained(run["model"], dtype=torch.float32)
    else:
        model = train(run, tokenizer)
    trained = time.perf_counter()
    model.eval()
    answer = choose if run["decode"] == "choose" else generate
    outputs = answer(model, tokenizer, run)
    right = sum(output.strip() == row["answer"] for output, row in zip(outputs, run["validation"], strict=True))
    print(
        json.dumps(
            {
                "accuracy": right / len(outputs),
                "train_seconds": trained - started,
                "predict_seconds": time.perf_counter() - trained,
            }
        )
    )


if __name__ == "__main__":
    main()
