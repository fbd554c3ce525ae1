"""How likely a model finds each of several continuations of a context, computing no token twice.

An item is packed as a tree: the context is the trunk, choices are branches, and choices that begin alike share the
tokens they begin with. Several trees lie side by side in one row; an attention mask lets every token see its own
ancestors alone, and position ids count along its own path, so each path is computed exactly as if it stood by itself.
A beginning that many contexts share is computed once and kept as a key-value cache in front of the row. There is no
padding, and logits are computed only where a choice's token is predicted; a one-token choice costs no token at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ftlab.events import EventType, Reporter, ignore
from ftlab.models.branching import Prefix, Way, keeps_logits, last_logits, prefill, prefix_groups

Item = tuple[Sequence[int], Sequence[Sequence[int]]]
"""Context token ids (at least one) and the token ids of each choice (at least one each)."""

CPU_ROW = 256
"""Tokens per packed row on a CPU, where the dense attention among strangers in a row costs more than larger rows
save."""
GPU_ROW = 2048
"""Tokens per packed row on a GPU."""
LOGIT_NUMBERS = 2**26
"""At most so many logits at once: 256 MB in float32."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6}
"""How far a packed log-likelihood may be from the plain one, per token, in the check of an unknown model."""
COARSE_TOLERANCE = 0.15
"""The same for 16-bit weights, whose log-likelihoods depend on the shape of the batch."""


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """A choice's summed log-likelihood in nats, and whether each of its tokens is the model's first choice."""

    logprob: float
    is_greedy: bool


@dataclass(slots=True)
class _Tree:
    """One item without its shared beginning. A node is a token that the model reads; an edge is one that it
    predicts."""

    tokens: list[int]
    parents: list[int] = field(default_factory=list)
    """The node before each node; -1 for the first, which follows the shared beginning."""
    edges: list[tuple[int, int]] = field(default_factory=list)
    """(node, token predicted after it)."""
    paths: list[list[int]] = field(default_factory=list)
    """The edges of each choice."""


class NotBranchedError(Exception):
    """A model whose cache, mask or positions cannot be shared between choices."""


Scorer = Callable[[Any, Sequence[Item], int], Iterator[tuple[int, list[ChoiceScore]]]]
"""A model, items and the tokens of one forward, to the place of an item and its scores, in any order."""


@torch.inference_mode()
def score_choices(
    model: Any,
    items: Sequence[Item],
    batch_tokens: int = 4096,
    report: Reporter = ignore,
    phase: str = "benchmark",
    otherwise: Scorer | None = None,
    way: Way = "check",
) -> list[list[ChoiceScore]]:
    """Score every choice of every item; equal to a plain forward of context + choice within 1e-4 in float32.

    Memory: the key-value cache holds one shared beginning, as long as a context at most, and one row of at most
    `batch_tokens` tokens (a single longer item makes a longer row), and logits at most `LOGIT_NUMBERS` numbers (one
    item's, where that is more), however many items there are.

    The items with the longest and the shortest context are scored plainly as well. Where that gives something else, the
    model's cache cannot be branched (a recurrent model, a sliding window, prompt tuning): `report` hears a warning and
    `otherwise` scores all items, by default one choice at a time. `report` also hears progress in items. Raises
    ValueError for an empty context or choice.
    """
    if any(not context or not choices or not all(choices) for context, choices in items):
        raise ValueError("expected at least one token in every context and every choice, and a choice in every item")
    if not items:
        return []
    if way != "check":
        known = _packed(model, items, batch_tokens, ()) if way == "branch" else _plain(model, items, batch_tokens)
        scores = _collect(known, len(items), report, phase)
        return [scores[index] for index in range(len(items))]
    try:
        scores = _collect(_checked(model, items, batch_tokens), len(items), report, phase)
    except NotBranchedError:
        report(
            EventType.WARNING,
            code="cache_not_branched",
            message="this model's cache cannot be shared between choices; "
            f"{'lm-eval scores' if otherwise else 'ftlab computes'} each by itself, which is slower",
            step=None,
        )
        scores = _collect((otherwise or _plain)(model, items, batch_tokens), len(items), report, phase)
    return [scores[index] for index in range(len(items))]


def _collect(
    scored: Iterator[tuple[int, list[ChoiceScore]]], total: int, report: Reporter, phase: str
) -> dict[int, list[ChoiceScore]]:
    scores: dict[int, list[ChoiceScore]] = {}
    for index, result in scored:
        scores[index] = result
        report(EventType.PROGRESS, phase=phase, done=len(scores), total=total, unit="examples")
    return scores


def _checked(model: Any, items: Sequence[Item], batch_tokens: int) -> Iterator[tuple[int, list[ChoiceScore]]]:
    """Packed scores, those of the items with the longest and the shortest context first and held against plain ones.

    The work of the check is thus part of the work to be done. Raises NotBranchedError.
    """
    longest = max(range(len(items)), key=lambda index: len(items[index][0]))
    shortest = min(range(len(items)), key=lambda index: len(items[index][0]))
    sample = list(dict.fromkeys((longest, shortest)))
    tolerance = TOLERANCE.get(model.dtype, COARSE_TOLERANCE)
    try:
        for index, result in _packed(model, items, batch_tokens, sample):
            if index in sample:
                # The last choice stands behind all the others in its row: the mask has the most to hide from it.
                context, choice = items[index][0], items[index][1][-1]
                (plain,) = plain_scores(model, [(context, choice)])
                if not abs(result[-1].logprob - plain.logprob) <= tolerance * len(choice):
                    raise NotBranchedError
                sample.remove(index)
            yield index, result
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError) as error:
        if not sample:
            raise
        raise NotBranchedError from error  # the model takes no cache, mask or positions of this form


def _packed(
    model: Any, items: Sequence[Item], batch_tokens: int, first: Sequence[int]
) -> Iterator[tuple[int, list[ChoiceScore]]]:
    row = min(batch_tokens, CPU_ROW if model.device.type == "cpu" else GPU_ROW)
    groups = prefix_groups([context for context, _ in items], row)
    groups.sort(key=lambda group: not any(index in first for index in group[1]))
    for shared, members in groups:
        members = sorted(members, key=lambda index: index not in first)
        prefix = prefill(model, items[members[0]][0][:shared], batch_tokens)
        trees = ((index, _tree(items[index][0][shared:], items[index][1])) for index in members)
        for pack in _packs(trees, row, LOGIT_NUMBERS // model.config.get_text_config().vocab_size):
            results = _forward(model, prefix, [tree for _, tree in pack])
            yield from zip((index for index, _ in pack), results, strict=True)


def _tree(context: Sequence[int], choices: Sequence[Sequence[int]]) -> _Tree:
    tree = _Tree(list(context), list(range(-1, len(context) - 1)))
    edge_of: dict[tuple[int, int], int] = {}
    node_of: dict[int, int] = {}
    for choice in choices:
        node, path = len(context) - 1, []
        for place, token in enumerate(choice):
            edge = edge_of.setdefault((node, token), len(tree.edges))
            if edge == len(tree.edges):
                tree.edges.append((node, token))
            path.append(edge)
            if place == len(choice) - 1:
                break
            if edge not in node_of:
                node_of[edge] = len(tree.tokens)
                tree.tokens.append(token)
                tree.parents.append(node)
            node = node_of[edge]
        tree.paths.append(path)
    return tree


def _packs(trees: Iterable[tuple[int, _Tree]], tokens: int, rows: int) -> Iterator[list[tuple[int, _Tree]]]:
    """Fill rows with trees in their order: at most `tokens` nodes and `rows` edges each, or one tree that is larger."""
    pack: list[tuple[int, _Tree]] = []
    nodes = edges = 0
    for index, tree in trees:
        if pack and (nodes + len(tree.tokens) > tokens or edges + len(tree.edges) > rows):
            yield pack
            pack, nodes, edges = [], 0, 0
        pack.append((index, tree))
        nodes += len(tree.tokens)
        edges += len(tree.edges)
    if pack:
        yield pack


def _forward(model: Any, prefix: Prefix, trees: Sequence[_Tree]) -> list[list[ChoiceScore]]:
    """One forward over trees side by side, after the prefix that all of them share."""
    tokens: list[int] = []
    parents: list[int] = []
    edges: list[tuple[int, int]] = []
    starts: list[int] = []
    for tree in trees:
        offset = len(tokens)
        starts.append(len(edges))
        tokens += tree.tokens
        parents += [parent + offset if parent >= 0 else -1 for parent in tree.parents]
        edges += [(node + offset, token) for node, token in tree.edges]
    mask, positions = _ancestry(parents, prefix.length, model.dtype)
    device = model.device
    read = sorted({node for node, _ in edges})
    logits = model(
        input_ids=torch.tensor([tokens], device=device),
        position_ids=positions[None].to(device),
        attention_mask=mask[None, None].to(device),
        past_key_values=prefix.cache,
        use_cache=prefix.cache is not None,
        **last_logits(model, torch.tensor(read, device=device)),
    ).logits[0]
    prefix.trim()
    row_of = {node: row for row, node in enumerate(read)} if keeps_logits(model) else {node: node for node in read}
    rows = torch.tensor([row_of[node] for node, _ in edges], device=device)
    predicted = torch.tensor([token for _, token in edges], device=device)
    logprobs, greedy = (part.tolist() for part in _read_off(logits, rows, predicted))
    return [
        [_sum(logprobs, greedy, [start + edge for edge in path]) for path in tree.paths]
        for tree, start in zip(trees, starts, strict=True)
    ]


def _ancestry(parents: Sequence[int], prefix: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The additive attention mask `(nodes, prefix + nodes)` and the position `(nodes,)` of every node of a forest."""
    size = len(parents)
    sees = torch.zeros((size, size), dtype=torch.bool)
    depth = [0] * size
    for node, parent in enumerate(parents):
        if parent >= 0:
            sees[node] = sees[parent]
            depth[node] = depth[parent] + 1
        sees[node, node] = True
    mask = torch.zeros((size, prefix + size), dtype=dtype)
    mask[:, prefix:].masked_fill_(~sees, torch.finfo(dtype).min)
    return mask, torch.tensor(depth) + prefix


def _read_off(logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The float32 log-probability of each token after its row of logits `(rows, vocabulary)`, and if it is the top one.

    By `log_softmax`, whose rounding over a large vocabulary lm-eval's numbers carry too: about 3e-6 for each token,
    which `logsumexp` would not have, and which over a sentence is more than two implementations should differ by.
    """
    logprobs = torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)
    return logprobs[rows, tokens], logprobs.argmax(dim=-1)[rows] == tokens


def _sum(logprobs: Sequence[float], greedy: Sequence[bool], edges: Sequence[int]) -> ChoiceScore:
    return ChoiceScore(sum(logprobs[edge] for edge in edges), all(greedy[edge] for edge in edges))


def _plain(model: Any, items: Sequence[Item], batch_tokens: int) -> Iterator[tuple[int, list[ChoiceScore]]]:
    """Every context + choice on its own, batched by length: right for any causal model."""
    pairs = [(index, place) for index, (_, choices) in enumerate(items) for place in range(len(choices))]
    pairs.sort(key=lambda pair: -len(items[pair[0]][0]) - len(items[pair[0]][1][pair[1]]))
    scores: dict[int, dict[int, ChoiceScore]] = {}
    for batch in _plain_batches(pairs, items, batch_tokens):
        sequences = [(items[index][0], items[index][1][place]) for index, place in batch]
        for (index, place), result in zip(batch, plain_scores(model, sequences), strict=True):
            done = scores.setdefault(index, {})
            done[place] = result
            if len(done) == len(items[index][1]):
                yield index, [done[choice] for choice in range(len(done))]


def _plain_batches(
    pairs: Sequence[tuple[int, int]], items: Sequence[Item], batch_tokens: int
) -> Iterator[list[tuple[int, int]]]:
    batch: list[tuple[int, int]] = []
    for index, place in pairs:  # longest first, so a batch is as wide as its first pair
        first = batch[0] if batch else (index, place)
        width = len(items[first[0]][0]) + len(items[first[0]][1][first[1]])
        if batch and width * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append((index, place))
    if batch:
        yield batch


@torch.inference_mode()
def plain_scores(model: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[ChoiceScore]:
    """The scores of (context, choice) pairs by one padded forward without any cache: what the fast way must equal."""
    inputs = [[*context, *choice][:-1] for context, choice in pairs]
    width = max(len(ids) for ids in inputs)
    # Padded on the right, where a causal model cannot look: any id will do.
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in inputs], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in inputs], device=model.device)
    keep = width - min(len(context) for context, _ in pairs) + 1
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **last_logits(model, keep)).logits
    results = []
    for row, (context, choice) in enumerate(pairs):
        first = len(context) - 1 - width  # from the end, since some adapters put tokens of their own in front
        last = first + len(choice)
        part = logits[row, first : last if last < 0 else None]
        tokens = torch.tensor(list(choice), device=model.device)
        logprobs, greedy = _read_off(part, torch.arange(len(choice), device=model.device), tokens)
        results.append(_sum(logprobs.tolist(), greedy.tolist(), range(len(choice))))
    return results
