from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from ftlab.catalog import METHODS
from ftlab.models.chat import ChatIds
from ftlab.models.load import LoadedModel
from ftlab.train.collate import Batch, collate
from ftlab.train.step import answer_loss, float32_on_cpu, keeps_logits, shares_prefix, validation_loss


def plain_loss(model: Any, rows: list[ChatIds]) -> torch.Tensor:
    """The sum of the answers' negative log-likelihoods, row by row, from the full logits."""
    losses = []
    for row in rows:
        logits = model(torch.tensor([row.prompt_ids + row.answer_ids])).logits[0, len(row.prompt_ids) - 1 : -1]
        losses.append(functional.cross_entropy(logits, torch.tensor(row.answer_ids), reduction="sum"))
    return torch.stack(losses).sum()


def pack(base: LoadedModel, rows: list[ChatIds], share: bool) -> Batch:
    return collate(rows, int(base.tokenizer.pad_token_id), share_prefix=share)


@pytest.mark.parametrize("share", [False, True])
def test_the_loss_and_its_gradients_equal_plain_forwards(
    share: bool, tiny_base: LoadedModel, chats: Callable[[int], list[ChatIds]]
) -> None:
    rows = chats(7)
    batch = pack(tiny_base, rows, share)
    assert (len(batch.prefix_ids) > 5) == share
    losses, gradients = [], []
    for loss_of in (lambda model: answer_loss(model, batch), lambda model: plain_loss(model, rows)):
        model = copy.deepcopy(tiny_base.model).train()
        loss = loss_of(model)
        loss.backward()
        losses.append(loss.item())
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for mine, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_splitting_a_batch_changes_nothing(tiny_base: LoadedModel, chats: Callable[[int], list[ChatIds]]) -> None:
    rows = chats(9)
    with torch.no_grad():
        whole = float(answer_loss(tiny_base.model, pack(tiny_base, rows, True)))
        parts = [float(answer_loss(tiny_base.model, pack(tiny_base, rows[at : at + 2], True))) for at in range(0, 9, 2)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


def test_only_the_answers_positions_reach_the_head(
    tiny_base: LoadedModel, chats: Callable[[int], list[ChatIds]]
) -> None:
    seen: list[int] = []
    head = tiny_base.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[0] * output.shape[1]))
    batch = pack(tiny_base, chats(4), True)
    try:
        answer_loss(tiny_base.model, batch)
    finally:
        hook.remove()
    assert sum(seen) == batch.labels.numel() + 1  # one for the shared prefix, whose logits nobody asks for
    assert keeps_logits(tiny_base.model)


def test_the_mean_is_over_all_answer_tokens(tiny_base: LoadedModel, chats: Callable[[int], list[ChatIds]]) -> None:
    rows = chats(5)
    tiny_base.model.train()
    try:
        batches = [pack(tiny_base, rows[:1], False), pack(tiny_base, rows[1:], False)]
        found = validation_loss(tiny_base.model, batches, tiny_base.device)
        assert tiny_base.model.training
    finally:
        tiny_base.model.eval()
    with torch.no_grad():
        expected = float(plain_loss(tiny_base.model, rows)) / sum(len(row.answer_ids) for row in rows)
    assert found.loss == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        alone = [float(plain_loss(tiny_base.model, [row])) / len(row.answer_ids) for row in rows]
    assert found.rows == pytest.approx(alone, rel=1e-5)


def test_a_prefix_is_not_shared_where_rows_would_share_noise_or_windows(tiny_base: LoadedModel) -> None:
    assert shares_prefix(tiny_base.model, dropout=0.0)
    assert not shares_prefix(tiny_base.model, dropout=0.1)
    windowed = copy.copy(tiny_base.model)
    windowed.config = copy.deepcopy(tiny_base.model.config)
    windowed.config.layer_types = ["full_attention", "sliding_attention"]
    windowed.config.sliding_window = 8
    assert not shares_prefix(windowed, dropout=0.0)


def test_frozen_bfloat16_weights_are_widened_for_the_block_alone(tiny_base: LoadedModel) -> None:
    narrow = LoadedModel(
        tiny_base.ref,
        copy.deepcopy(tiny_base.model).to(torch.bfloat16),
        tiny_base.tokenizer,
        tiny_base.device,
        tiny_base.folder,
    )
    before = [parameter.data for parameter in narrow.model.parameters()]
    lora = METHODS.load("lora")()
    model = lora.attach(narrow, lora.Config(), seed=0)
    with float32_on_cpu(model):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    lora.detach(narrow, model)
    after = [parameter.data for parameter in narrow.model.parameters()]
    assert [data.data_ptr() for data in after] == [data.data_ptr() for data in before]
