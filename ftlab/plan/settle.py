"""What a spec names, looked up in the world: benchmarks, data, models. All that is wrong is told at once."""

from __future__ import annotations

from ftlab.errors import Fault, SpecError, UnknownNameError, UsageError, gathered
from ftlab.plan.run import DataRef, ModelRef
from ftlab.spec.load import LoadedSpec
from ftlab.spec.placed import problem_of


def refuse_unknown_benchmarks(loaded: LoadedSpec) -> None:
    """Raise SpecError for every benchmark that does not exist: before anything is fetched or trained."""
    tasks = loaded.spec.benchmarks.tasks
    if not tasks:
        return
    from ftlab.evaluate.benchmarks import check_task
    from ftlab.evaluate.own_tasks import own_task

    problems = []
    for index, task in enumerate(tasks):
        try:
            check_task(task, own_task(task, loaded.spec.benchmarks, loaded.root))
        except (UnknownNameError, UsageError) as error:
            path = ("benchmarks", "tasks", index)
            problems.append(loaded.tree.place_of(path).problem(path, str(error)))
    if problems:
        raise SpecError(problems)


def settle(loaded: LoadedSpec) -> tuple[DataRef, list[ModelRef]]:
    """The data and the models of a spec, each with its identity.

    Raises SpecError with the places of all that is wrong with any of them.
    """
    from ftlab.data.look import look_at
    from ftlab.data.sources import resolve_data
    from ftlab.models.sources import resolve_model

    faults: list[Fault] = []
    data: DataRef | None = None
    models: list[ModelRef] = []
    with gathered(faults, "data"):
        data = resolve_data(loaded.spec.data, loaded.root)
    for index, model in enumerate(loaded.models):
        with gathered(faults, "model", *([index] if isinstance(loaded.spec.model, list) else [])):
            models.append(resolve_model(model, loaded.root))
    if faults or data is None:
        # One round of mending for all of it, as far as it can be seen without the rest.
        faults = list(dict.fromkeys([*faults, *look_at(loaded)]))
        raise SpecError([problem_of(loaded, fault) for fault in faults])
    return data, models
