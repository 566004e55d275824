"""The tables in the documents of what the benchmarks wrote."""

from pathlib import Path
from typing import Any

from bertlab import ROOT, console
from bertlab.io import read_json

RESULTS = ROOT / "benchmarks" / "results"
SPREAD = {"median", "min", "max"}


def markdown(name: str, folder: Path = RESULTS) -> str:
    """Return benchmarks/results/NAME.json as Markdown: a table for each comparison, then the rest.

    "NAME speed" are the figures of the contestants alone, "NAME details" the others and the goals.
    """
    name, _, part = name.partition(" ")
    path = folder / f"{name}.json"
    if not path.is_file():
        return f"Not measured yet: `python -m benchmarks.{name}` writes it.\n"
    result = read_json(path)
    own = OWN.get(f"{name} {part}".strip())
    if own is not None:
        return own(result) + "\n"
    about = {key: result.pop(key, {}) for key in ("machine", "versions", "code", "quick", "rounds")}
    comparisons = {title: item for title, item in result.items() if isinstance(item, dict) and "rates" in item}
    others = {title: item for title, item in result.items() if title not in comparisons and item != {}}
    if part:
        contestants = {tuple(item["rates"]) for item in comparisons.values()}
        others = {k: item for k, item in others.items() if (_things(item) in contestants) is (part == "speed")}
    if part == "speed":
        comparisons = {title: {**item, "targets": {}} for title, item in comparisons.items()}
    tables = [_goals(comparisons)] if part == "details" else [_comparison(*item) for item in comparisons.items()]
    tables += _tables(others)
    return "\n\n".join([*tables, _source(about)]) + "\n"


def facts(tutorial: str, folder: Path = RESULTS) -> str:
    """Return what a tutorial says of its data beside what was measured, as a Markdown table."""
    items = read_json(folder / "tutorials.json")["tutorials"][tutorial]
    rows = [(item["what"], "" if item["tutorial"] is None else item["tutorial"], item["found"]) for item in items]
    return console.markdown(("what", "the tutorial", "here"), rows) + "\n"


def _source(about: dict[str, Any]) -> str:
    """Return the line that says on what machine, and with which code, the figures were measured."""
    machine, versions, code, rounds = (about[key] for key in ("machine", "versions", "code", "rounds"))
    libraries = [f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions]
    commit = f"commit {str(code.get('commit'))[:8]}{', with changes' if code.get('changed') else ''}"
    where = f"{machine.get('processor')}, {machine.get('cores')} cores"
    turns = "" if rounds is None else f"; {rounds} round{'' if rounds == 1 else 's'}"
    return f"{where}; {', '.join(libraries)}; {commit}{turns}."


def _comparison(title: str, item: dict[str, Any]) -> str:
    rows = []
    for name, rate in item["rates"].items():
        ratio, target = item["ratios"].get(name), item["targets"].get(name)
        rows.append((name, _spread(rate), _spread(ratio) if ratio else "", f"{target:g}" if target else ""))
    goal = ("goal",) if item["targets"] else ()
    return console.markdown((title, item["unit"], "speed-up of bertlab", *goal), [row[: 3 + len(goal)] for row in rows])


def _goals(comparisons: dict[str, Any]) -> str:
    """Return the speed-ups that are aimed at beside those that were measured."""
    rows = [
        (title, peer, f"{goal:g}", _figure(item["ratios"][peer]["median"]))
        for title, item in comparisons.items()
        for peer, goal in item["targets"].items()
    ]
    return console.markdown(("speed-up of bertlab", "beside", "goal", "measured"), rows)


def _startup(result: dict[str, Any]) -> str:
    """Return the seconds to the first answer, and how many times as fast that is as the pipeline."""
    (pipeline,) = result["first answer"]["ratios"]
    ratios = {
        "bertlab": result["first answer"]["ratios"][pipeline],
        "bertlab, model exported as ONNX": result["first answer, model exported as ONNX"]["ratios"][pipeline],
    }
    seconds = result["first answer, seconds"]
    rows = [(name, _figure(seconds[name]), _figure(ratios.get(name, ""))) for name in seconds]
    header = ("first answer", "seconds", "times as fast as the pipeline")
    return "\n\n".join([console.markdown(header, rows), _source(result)])


def _tables(items: dict[str, Any]) -> list[str]:
    """Return the tables of all other figures: one for those of the same things, and one for the rest of them."""
    tables, rest = [], []
    for things, same in _by_things(items).items():
        if len(same) > 1 and things:
            rows = [(thing, *(_figure(items[title][thing]) for title in same)) for thing in things]
            tables.append(console.markdown(("", *same), rows))
        elif things and all(_things(item) for item in items[same[0]].values()):
            tables.append(_matrix(same[0], items[same[0]]))
        elif things:
            names = (same[0], *[""] * (len(things) - 1))
            rest += [(name, _code(it), _figure(items[same[0]][it])) for name, it in zip(names, things, strict=True)]
        else:
            rest += [(title, "", _figure(items[title])) for title in same]
    return [*tables, console.markdown(("figure", "of", "value"), rest)] if rest else tables


def _code(name: str) -> str:
    """Return the name of an operation of torch as code: underscores would make it italic."""
    return f"`{name}`" if "_" in name else name


def _by_things(items: dict[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Return the titles of the figures by what they are figures of."""
    found: dict[tuple[str, ...], list[str]] = {}
    for title, item in items.items():
        found.setdefault(_things(item), []).append(title)
    return found


def _things(item: Any) -> tuple[str, ...]:
    """Return what there is a figure of; nothing for a figure itself."""
    return tuple(item) if isinstance(item, dict) and set(item) != SPREAD else ()


def _matrix(title: str, items: dict[str, dict[str, Any]]) -> str:
    columns = dict.fromkeys(key for item in items.values() for key in item)
    rows = [(name, *(_figure(item.get(key, "")) for key in columns)) for name, item in items.items()]
    return console.markdown((title, *columns), rows)


def _spread(item: dict[str, float]) -> str:
    return f"{_figure(item['median'])} ({_figure(item['min'])} to {_figure(item['max'])})"


def _figure(value: Any) -> str:
    """Return a number with three significant digits, with its spread where it has one."""
    if isinstance(value, dict):
        return _spread(value)
    if isinstance(value, (int, float)):
        return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"
    return str(value)


def _load(result: dict[str, Any]) -> str:
    """Return the memory that each load took: before it, at most, by how much it grew, and what is allowed."""
    rows = [
        (
            name.replace("_", " "),
            *(load[next(key for key in keys if key in load)] for keys in LOAD),
            *(load[key] for key in ("growth_mb", "bound_mb")),
        )
        for name, load in result["loads"].items()
    ]
    return console.markdown(("load", "before, MB", "at most, MB", "growth, MB", "allowed, MB"), rows, right=range(1, 5))


def _export(result: dict[str, Any]) -> str:
    """Return the speed of each engine, in batches and one text at a time."""
    rows = []
    for engine in result["speed"]["batched"]:
        rates = [result["speed"][way][engine] for way in ("batched", "one_by_one")]
        rows.append((engine, *(cell for rate in rates for cell in (f"{rate['rows_per_second']:.0f}", _ratio(rate)))))
    header = ("engine", "batched, rows/s", "to torch fp32", "one at a time, rows/s", "to torch fp32")
    return console.markdown(header, rows)


def _fidelity(result: dict[str, Any]) -> str:
    """Return a table for each task and model, and which runs are in them."""
    tables = [f"{title}:\n\n{console.markdown(**item)}" for title, item in result["tables"].items()]
    runs = ", ".join(f"{count} at {commit}" for commit, count in result["runs"].items())
    return "\n\n".join([*tables, f"Runs by commit: {runs}. The last: {_source(result)}"])


def _ratio(rate: dict[str, float]) -> str:
    return f"{rate['ratio']:.2f} ({rate['ratio_low']:.2f} to {rate['ratio_high']:.2f})"


# How a load's memory before and at its peak are called in its file.
LOAD = (("few_rows_mb", "before_reading_mb", "first_quarter_mb"), ("peak_mb", "while_training_mb", "rest_mb"))


def _coverage(result: dict[str, Any]) -> str:
    """Return how often 95% confidence intervals held the true score, with a row for each case."""
    sizes = list(result["coverage"][0]["coverage"])
    rows = [
        (row["over"], row["data"], row["score"], *(f"{row['coverage'][size]:.1%}" for size in sizes))
        for row in result["coverage"]
    ]
    header = ("over", "data", "score", *(f"n = {int(size):,}" for size in sizes))
    return f"{console.markdown(header, rows)}\n\n{result['rounds']:,} data sets each."


OWN = {"coverage": _coverage, "startup speed": _startup, "load": _load, "export": _export, "fidelity": _fidelity}
