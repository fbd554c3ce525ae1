"""How a model behaves unasked: a fixed set of general prompts, answered greedily in its chat template.

Each answer is scored for what it was asked (`format`, `instructions`) and for habits that have no better and no worse:
its length, whether it refuses, how much it repeats itself. The answers are kept, to be read side by side with the
base's. An answer ends after `MOST_TOKENS` tokens, so a length is a length up to there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.evaluate.asked import doc_hash, item_rows
from ftlab.evaluate.following import FOLLOWING_VERSION, follows
from ftlab.evaluate.metrics.base import Answer
from ftlab.evaluate.metrics.habits import RefusalRate, Repetition
from ftlab.events import Reporter, ignore
from ftlab.plan.identity import digest
from ftlab.spec.measures import BEHAVIOUR

if TYPE_CHECKING:
    from ftlab.evaluate.bench_items import Item
    from ftlab.models.generate import Generation
    from ftlab.models.load import LoadedModel

MOST_TOKENS = 64
"""The longest answer."""
OUTPUTS_FILE = "outputs.parquet"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One general prompt with the checks of its answer, each `{check of ftlab.evaluate.following: what is asked}`."""

    prompt: str
    format: Mapping[str, Any] = field(default_factory=dict)
    instructions: Mapping[str, Any] = field(default_factory=dict)

    def scores(self, answer: str, tokens: int) -> dict[str, float | None]:
        """The measures of an answer; None where the prompt asks for nothing, or the answer is too short to tell."""
        given = Answer("", answer, None, "")
        return {
            "instructions": float(follows(answer, self.instructions)) if self.instructions else None,
            "format": float(follows(answer, self.format)) if self.format else None,
            "length": float(tokens),
            "refusal": RefusalRate().score(given),
            "repetition": Repetition().score(given),
        }


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`builtin:behaviour`."""

    task: str = BEHAVIOUR

    def version(self) -> str:
        """The prompts, the checks, what counts as refusing and repeating, and the longest answer."""
        habits = [RefusalRate.version, Repetition.version]
        return digest({"file": _text(), "checks": FOLLOWING_VERSION, "habits": habits, "tokens": MOST_TOKENS}, 16)

    def fetch(self, report: Reporter = ignore) -> None:
        """Nothing: the prompts ship with ftlab."""

    def ask(
        self, model: Any, loaded: LoadedModel, limit: int | None, out: Path, report: Reporter, batch_tokens: int
    ) -> list[Item]:
        """Answer the prompts, and keep the answers in outputs.parquet. Raises ModelError when the template refuses."""
        from ftlab.models.chat import render_chat
        from ftlab.models.generate import generate

        asked = prompts()[:limit]
        chats = [[{"role": "user", "content": each.prompt}] for each in asked]
        ids = [render_chat(loaded.tokenizer, chat).prompt_ids for chat in chats]
        answers = generate(model, loaded.tokenizer, ids, MOST_TOKENS, batch_tokens, report, phase="benchmark")
        _write(asked, answers, out / OUTPUTS_FILE)
        scores = [each.scores(made.text, len(made.output_ids)) for each, made in zip(asked, answers, strict=True)]
        return item_rows([each.prompt for each in asked], scores)


def _text() -> str:
    return (resources.files("ftlab.evaluate") / "prompts" / "behaviour.yaml").read_text(encoding="utf-8")


@cache
def prompts() -> tuple[Prompt, ...]:
    """Every prompt in its order, read by a loader that knows no functions."""
    from ruamel.yaml import YAML

    return tuple(Prompt(**entry) for entry in YAML(typ="safe", pure=True).load(_text()))


def _write(asked: Sequence[Prompt], answers: Sequence[Generation], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "doc_hash": pa.array([doc_hash(each.prompt) for each in asked], pa.string()),
        "doc_id": pa.array(range(len(asked)), pa.int64()),
        "prompt": pa.array([each.prompt for each in asked], pa.string()),
        "output": pa.array([made.text for made in answers], pa.string()),
        "output_tokens": pa.array([len(made.output_ids) for made in answers], pa.int64()),
        "finish": pa.array([made.finish for made in answers], pa.string()),
    }
    pq.write_table(pa.table(columns), path)


behaviour = Behaviour()
