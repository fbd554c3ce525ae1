"""Where rows come from, and what their identity depends on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftlab.data.sources import load_rows, resolve_data
from ftlab.errors import DataError, FetchError, UnknownNameError
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec, Files, SplitSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_relative_to_the_spec(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"q": "x"}])
    ref = resolve_data(DataSpec(source="a.jsonl"), tmp_path)
    assert load_rows(ref).by_split == {None: [{"q": "x"}]}
    assert DataRef.model_validate_json(ref.model_dump_json()) == ref


def test_files_for_each_split(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"q": "x"}])
    (tmp_path / "b.csv").write_text("q\ny\n", encoding="utf-8")
    ref = resolve_data(DataSpec(files=Files(train="a.jsonl", test=str(tmp_path / "b.csv"))), tmp_path)
    rows = load_rows(ref)
    assert rows.by_split == {"train": [{"q": "x"}], "test": [{"q": "y"}]}
    assert rows.places["test"] == str(tmp_path / "b.csv")


def test_identity_is_the_bytes_and_not_their_place_or_the_split_rule(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "a.jsonl", [{"q": "x"}])
    write(tmp_path / "sub" / "b.jsonl", [{"q": "x"}])
    content = resolve_data(DataSpec(source="a.jsonl"), tmp_path).content
    assert resolve_data(DataSpec(source="sub/b.jsonl", splits=SplitSpec(seed=9)), tmp_path).content == content
    write(tmp_path / "a.jsonl", [{"q": "y"}])
    assert resolve_data(DataSpec(source="a.jsonl"), tmp_path).content != content


def test_which_split_a_file_is_counts(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"q": "x"}])
    write(tmp_path / "b.jsonl", [{"q": "y"}])
    one = resolve_data(DataSpec(files=Files(train="a.jsonl", test="b.jsonl")), tmp_path)
    other = resolve_data(DataSpec(files=Files(train="a.jsonl", validation="b.jsonl")), tmp_path)
    assert one.content != other.content


def test_a_file_that_changes_after_the_plan_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"q": "x"}])
    ref = resolve_data(DataSpec(source="a.jsonl"), tmp_path)
    write(tmp_path / "a.jsonl", [{"q": "y"}])
    with pytest.raises(DataError, match=r"a\.jsonl: the data has changed since the plan was made; plan it again"):
        load_rows(ref)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(source="none.jsonl"), r"none\.jsonl: there is no such file \(there: some\.jsonl\)"),
        (DataSpec(source="./none.txt"), r"none\.txt: expected an ending of"),
        (DataSpec(source="folder.csv"), r"folder\.csv: cannot be read \(Is a directory\)"),
        (
            DataSpec(source="what is this"),
            r"data\.source: 'what is this' is neither builtin:<name> \(medical-specialty\)",
        ),
        (DataSpec(source="some.jsonl", subset="a"), r"data\.subset: only a data set of a hub has subsets, found 'a'"),
    ],
)
def test_sources_that_do_not_exist(tmp_path: Path, spec: DataSpec, message: str) -> None:
    write(tmp_path / "some.jsonl", [{"q": "x"}])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=message):
        resolve_data(spec, tmp_path)


def test_an_unknown_builtin_suggests_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'medical-specialty'"):
        resolve_data(DataSpec(source="builtin:medical-speciality"), tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with one data set; what is asked of it is noted."""
    import datasets

    asked: dict[str, Any] = {}
    features = datasets.Features({"q": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})

    def split(rows: list[tuple[str, int]]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"q": [q for q, _ in rows], "label": [label for _, label in rows]}, features)

    published = {
        "train": split([("a", 1), ("b", 0)]),
        "dev": split([("c", 1)]),
        "unsupervised": split([("d", -1)]),
    }

    def load_dataset(repo: str, subset: str | None, revision: str) -> datasets.DatasetDict:
        asked.update(repo=repo, subset=subset, revision=revision)
        if subset == "wrong":
            raise ValueError("BuilderConfig 'wrong' not found.\nAvailable: ['right']")
        return datasets.DatasetDict(published)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("ftlab.data.sources.resolve_commit", lambda repo, revision, kind: COMMIT)
    asked["published"] = published
    return asked


def test_a_hub_data_set_is_read_at_the_commit_of_the_plan(hub: dict[str, Any], tmp_path: Path) -> None:
    ref = resolve_data(DataSpec(source="org/name@main", subset="right"), tmp_path)
    assert load_rows(ref).by_split == {
        "train": [{"q": "a", "label": "yes"}, {"q": "b", "label": "no"}],
        "validation": [{"q": "c", "label": "yes"}],
    }
    assert (hub["repo"], hub["subset"], hub["revision"]) == ("org/name", "right", COMMIT)
    assert resolve_data(DataSpec(source="org/name@main"), tmp_path).content != ref.content


def test_one_split_alone_is_all_rows_and_an_unknown_class_is_none(hub: dict[str, Any], tmp_path: Path) -> None:
    del hub["published"]["train"], hub["published"]["dev"]
    assert load_rows(resolve_data(DataSpec(source="org/name"), tmp_path)).by_split == {
        None: [{"q": "d", "label": None}]
    }


def test_a_hub_data_set_without_train_or_subset_is_refused(hub: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Available: \['right'\]; name one as data\.subset"):
        load_rows(resolve_data(DataSpec(source="org/name", subset="wrong"), tmp_path))
    del hub["published"]["train"]
    with pytest.raises(DataError, match="expected a split called train, found dev, unsupervised"):
        load_rows(resolve_data(DataSpec(source="org/name"), tmp_path))


def test_a_hub_out_of_reach_is_one_clear_sentence(tmp_path: Path) -> None:
    """In a process of its own, since the hub's library reads its settings when it is imported."""
    code = (
        "from pathlib import Path; from ftlab.data.sources import resolve_data\n"
        "from ftlab.errors import FetchError; from ftlab.spec.schema import DataSpec\n"
        "try: resolve_data(DataSpec(source='org/name'), Path('.'))\n"
        "except FetchError as error: print(error)"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dataset org/name cannot be fetched from the hub and is not in its cache (")
    assert done.stdout.strip().endswith("or name local files instead")
    assert issubclass(FetchError, ValueError)


def test_reading_data_imports_nothing_heavy() -> None:
    code = (
        "import sys; import ftlab.data.dataset, ftlab.data.checks, ftlab.models.sources\n"
        "heavy = ('torch', 'transformers', 'datasets', 'huggingface_hub', 'pyarrow', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_that_is_there_is_never_looked_for_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"x\.xlsx: expected an ending of .*, found '\.xlsx'"):
        resolve_data(DataSpec(source="data/x.xlsx"), tmp_path)
