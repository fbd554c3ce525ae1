"""Names on a hub, of models and data sets: their form, and the commit that one stands for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from ftlab.errors import DataError, FetchError, ModelError, UsageError, first_line

HUB_ID = re.compile(r"^(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?$", re.ASCII)
"""`org/name` or `org/name@revision`."""

Kind = Literal["model", "dataset"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_SECONDS = 15.0
_ERRORS: dict[Kind, type[UsageError]] = {"model": ModelError, "dataset": DataError}


def resolve_commit(repo: str, revision: str | None, kind: Kind) -> str:
    """The commit that `revision` (the main branch when None) of `repo` stands for now. Downloads nothing.

    Asks the hub, and its cache on this machine when the hub cannot be reached. A cached commit is not asked for.
    Raises ModelError or DataError for what the hub does not know or show, and FetchError when there is neither hub nor
    cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    wrong = _ERRORS[kind]
    cached = _cached_commit(repo, revision, kind)
    if cached is not None and cached == revision:
        return cached
    try:
        info: Any = HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=_TIMEOUT_SECONDS)
    except GatedRepoError as error:
        raise wrong(f"{kind} {repo} asks for consent first; accept its terms on the hub and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise wrong(f"the hub knows no {kind} {repo}; check the spelling, or set HF_TOKEN if it is private") from error
    except RevisionNotFoundError as error:
        raise wrong(f"{kind} {repo} has no revision '{revision}'; name a branch, a tag or a commit of it") from error
    except Exception as error:
        # Connection errors come in many classes, from three libraries.
        if cached is not None:
            return cached
        raise unreachable(kind, repo, error) from error
    return str(info.sha)


def unreachable(kind: Kind, name: str, error: Exception) -> FetchError:
    """The error for a hub that does not answer, with the mend."""
    return FetchError(
        f"{kind} {name} cannot be fetched from the hub and is not in its cache ({first_line(error)}); check the "
        "network (HTTPS_PROXY, HF_ENDPOINT), or name local files instead"
    )


def _cached_commit(repo: str, revision: str | None, kind: Kind) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind)
    wanted = revision or "main"
    if _COMMIT.fullmatch(wanted):
        return wanted if (folder / "snapshots" / wanted).is_dir() else None
    reference = folder / "refs" / wanted
    return reference.read_text(encoding="utf-8").strip() if reference.is_file() else None
