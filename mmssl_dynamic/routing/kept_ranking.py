"""Routing a task once: the ranking is kept as long as nothing has changed that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.splits import count_images
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
        kept: Where decoded images wait for the next sub-networks.
    """

    task: Task
    normalisation: Normalisation
    execution: Execution
    kept: ImageKeeper = field(default_factory=ImageKeeper)

    def __call__(self, router: Router, names: Sequence[str] | None, folder: Path) -> RoutingResult:
        """The ranking of some sub-networks; ``folder`` keeps it."""
        inputs = {"task": self.task.name, **router.inputs(names), **self.task.inputs(self.normalisation)}
        key, cache = Key("routing", inputs), ResultCache(folder, RoutingResult.from_record, self.execution.again)
        processes = router.processes
        found = cache.load(key, "routing") if processes.first else None
        if found is not None:
            self._say(kept_line(f"{self.task.name}: the ranking is", [found], key))
        known = processes.told(None if found is None else found.value)
        if known is not None:
            return known
        changed = cache.changed(key, "routing")
        if changed and not self.execution.again:
            self._say(f"{self.task.name}: ranked anew, for other {', '.join(changed)} than the last time")
        decoded = self.kept.decoded
        splits = self.task.splits(self.normalisation, *self.execution.loading, router.device, self.kept)
        result = router.route(splits, names, self.task.name)
        images = sum(count_images(part) for part in splits.parts().values())
        decodes = sum(processes.gathered(self.kept.decoded - decoded)) / images
        protocol = {**result.protocol, "normalisation": self.normalisation.record()}
        cost = {**result.cost, "decodes_per_image": round(decodes, 4)}
        result = replace(result, protocol=protocol, cost=cost, inputs=key.record())
        if processes.first:
            cache.save(key, "routing", result.record())
        return result

    def _say(self, text: str) -> None:
        if self.execution.progress:
            print(text, flush=True)
