"""Accuracy over cost with the Pareto front, the budget drawn in, and the chosen network marked."""

from __future__ import annotations

from matplotlib.figure import Figure

from mmssl_dynamic.selection.choice import Choice, pareto_front

_AXES = {
    "latency_ms": ("latency (ms)", 1.0),
    "macs": ("multiply-accumulates per image (M)", 1e6),
    "params": ("weights (M)", 1e6),
    "size_bytes": ("size of the weights (MB)", 1e6),
}


def budget_plot(choice: Choice) -> Figure:
    """One panel for each limit of the budget; without any, one over multiply-accumulates."""
    names = list(choice.budget.limits) or ["macs"]
    figure = Figure(figsize=(1.2 + 5.2 * len(names), 4.4), layout="constrained")
    front = pareto_front(choice.task.candidates, choice.budget)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        label, unit = _AXES[name]

        def at(candidate, name=name, unit=unit):  # type: ignore[no-untyped-def]
            return getattr(candidate.cost, name) / unit

        candidates = choice.task.candidates
        measured = [c for c in candidates if name != "latency_ms" or not c.cost.estimated]
        estimated = [c for c in candidates if c not in measured]
        for some, face, text in ((measured, "#7f8c96", None), (estimated, "none", "latency estimated")):
            if some:
                axes.scatter(
                    [at(c) for c in some], [c.choice for c in some], s=22, color="#7f8c96", facecolor=face, label=text
                )
        axes.plot([at(c) for c in front], [c.choice for c in front], color="#4878a8", linewidth=1.2, label="front")
        limit = choice.budget.limits.get(name)
        if limit is not None:
            axes.axvline(limit / unit, color="#c44e52", linestyle="--", linewidth=1.2, label="budget")
        if choice.chosen is not None:
            axes.scatter([at(choice.chosen)], [choice.chosen.choice], s=70, color="#c44e52", zorder=3, label="chosen")
        for candidate in {c.name: c for c in (*front, choice.chosen, choice.next_up) if c is not None}.values():
            axes.annotate(
                candidate.name,
                (at(candidate), candidate.choice),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize="x-small",
            )
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy that the choice is made by (%)")
        axes.grid(color="#d8dee4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.1, 0.12)
        axes.legend(frameon=False, fontsize="small", loc="lower right")
    figure.suptitle(f"{choice.task.task}: {choice.budget}", fontsize="medium")
    return figure
