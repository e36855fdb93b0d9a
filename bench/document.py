"""docs/benchmarks.md, with its data and charts, made from a run: nobody writes a figure by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.charts import CHARTS, Chart, draw
from bench.figures import figures, write_figures
from bench.results import Comparison
from bench.run import Run
from bench.targets import target_table

_PREFACE: Final = Path(__file__).with_name("preface.txt")
_AFTERWORD: Final = Path(__file__).with_name("afterword.txt")
"""What no run can say: why a figure is what it is."""

_MADE: Final = ("*.csv", "*.svg", "data.md")
"""What the folder beside the page holds."""


def write_document(made: Run, page: Path) -> None:
    """Writes the page. The folder beside it gets the data, the charts, and a list of the comparisons."""
    folder = page.parent / page.stem
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in _MADE:
        for old in folder.glob(pattern):
            old.unlink()
    results: dict[str, Comparison] = made["comparisons"]
    for name, comparison in results.items():
        write_figures(comparison, folder / f"{name}.csv")
    (folder / "data.md").write_text(comparison_list(results))
    charts = [line for chart in CHARTS if (line := _drawn(chart, results, folder))]
    sections = [
        _PREFACE.read_text(),
        f"## Targets\n\n{_machine(made)}\n\n{target_table(results)}",
        _AFTERWORD.read_text(),
        "## Charts\n\n" + "\n\n".join(charts),
    ]
    page.write_text("\n\n".join(section.strip() for section in sections) + "\n")


def comparison_list(results: dict[str, Comparison]) -> str:
    """What each data file holds, and what limits its figures."""
    parts = [
        "# Benchmark data",
        "Each comparison has a file with one figure a line: the point (`at`), the way, the figure's name "
        "with its unit, and its median, least and most over the rounds. [The findings](../benchmarks.md) say "
        "how it was measured.",
    ]
    for name, comparison in results.items():
        parts += [f"## {comparison.title}", f"[{name}.csv]({name}.csv). {comparison.about}"]
        parts += [f"*What limits these figures:* {comparison.limits}"] if comparison.limits else []
        parts += [f"*Not measured:* {reason}" for reason in comparison.skipped]
    return "\n\n".join(parts) + "\n"


def _machine(made: Run) -> str:
    at, plan = made["machine"], made["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    return (
        f"Measured {at['time']}, commit {at['commit']}; {at['processor']}, {at['cores']} cores, "
        f"{at['memory_gib']} GiB, Linux {at['kernel']}, Python {at['python']}; "
        f"load before the run {at['load_before']}. "
        f"{plan['rounds']} rounds of {plan['seconds']:g} s, on curves {plan['curve_rounds']} of "
        f"{plan['curve_seconds']:g} s. {versions}."
    )


def _drawn(chart: Chart, results: dict[str, Comparison], folder: Path) -> str | None:
    """The line that shows a chart; None if it was not measured."""
    comparison = results.get(chart.comparison)
    file = folder / f"{chart.comparison}.svg"
    if comparison is None or not draw(chart, comparison.along, figures(comparison), file):
        return None
    return f"![{chart.title}]({folder.name}/{file.name})"
