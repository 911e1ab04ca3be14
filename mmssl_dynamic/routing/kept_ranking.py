"""Routing a task once: the ranking is kept as long as nothing has changed that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line
from mmssl_dynamic.routing.result import RoutingResult
from mmssl_dynamic.routing.router import Router


@dataclass(frozen=True)
class KeptRanking:
    """Routes a task, unless that has been done.

    Attributes:
        task: The labelled images.
        normalisation: What the pre-training did to pixels.
        execution: Batch size and workers, whether to route in any case, and to say what was kept.
    """

    task: Task
    normalisation: Normalisation
    execution: Execution

    def __call__(self, router: Router, names: Sequence[str] | None, folder: Path) -> RoutingResult:
        """The ranking of some sub-networks; ``folder`` keeps it."""
        inputs = {"task": self.task.name, **router.inputs(names), **self.task.inputs(self.normalisation)}
        key, cache = Key("routing", inputs), ResultCache(folder, RoutingResult.from_record, self.execution.again)
        kept = cache.load(key, "routing")
        if kept is not None:
            self._say(kept_line(f"{self.task.name}: the ranking is", [kept], key))
            return kept.value
        changed = cache.changed(key, "routing")
        if changed and not self.execution.again:
            self._say(f"{self.task.name}: ranked anew, for other {', '.join(changed)} than the last time")
        splits = self.task.splits(self.normalisation, *self.execution.loading, router.device)
        result = router.route(splits, names, self.task.name)
        protocol = {**result.protocol, "normalisation": self.normalisation.record()}
        result = replace(result, protocol=protocol, inputs=key.record())
        cache.save(key, "routing", result.record())
        return result

    def _say(self, text: str) -> None:
        if self.execution.progress:
            print(text, flush=True)
