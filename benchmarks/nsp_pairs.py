"""How fast, and in how much memory, text becomes next-sentence pairs.

    python benchmarks/nsp_pairs.py --text FOLDER --gigabytes 1 --output benchmarks/results/nsp_pairs.json

The text is copied into a temporary folder, again and again as distinct files, until it has the size. A
process of its own reads and splits it, then makes pairs by each policy; the time and the peak memory of that
process are written to the output. Tokenization is no part of it.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pandas", "pyarrow", "sentencex")
POLICIES = ("all", "segments")
BATCHES = 100


def main() -> int:
    """Measure, print and write the report; return the exit status."""
    from bertlab.io import write_json
    from bertlab.report import provenance

    arguments = parse()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.work_dir, prefix="nsp_pairs_") as folder:
        texts = Path(folder, "texts")
        copies, size = repeat(arguments.text, int(arguments.gigabytes * 1e9), texts)
        load = os.getloadavg()[0]
        measured = run_measurement(arguments, texts)
    report = {
        "text": {"name": Path(arguments.text[0]).name, "files": copies, "bytes": size},
        "settings": {name: getattr(arguments, name) for name in SETTINGS},
        **with_rates(measured, size),
        "machine": {**provenance.machine(), "load_before": round(load, 2)},
        "versions": {**provenance.versions(), **{name: version(name) for name in PACKAGES}},
        "code": provenance.commit(),
    }
    write_json(arguments.output, report)
    print(json.dumps(report, indent=2))
    return 0


SETTINGS = ("document_unit", "sentence_splitter", "language", "negatives", "seed")


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--text", nargs="+", required=True, help="files, folders or globs, plain or .gz")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the text, in 10^9 bytes")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "nsp_pairs.json")
    parser.add_argument("--work_dir", help="where the copies go (by default the system's temporary folder)")
    parser.add_argument("--document_unit", default="file")
    parser.add_argument("--sentence_splitter", default="sentencex")
    parser.add_argument("--language", default="en")
    parser.add_argument("--negatives", default="other_document")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def repeat(patterns: Sequence[str], size: int, folder: Path) -> tuple[int, int]:
    """Copy files into a folder under distinct names until they have `size` bytes; return files and bytes."""
    from bertlab.pretraining.text_files import find_text_files

    sources = find_text_files(patterns)
    folder.mkdir()
    copies = total = 0
    while total < size:
        source = sources[copies % len(sources)]
        target = folder / f"{copies:07}{''.join(source.suffixes[-2:])}"
        shutil.copyfile(source, target)
        copies, total = copies + 1, total + source.stat().st_size
    return copies, total


def run_measurement(arguments: argparse.Namespace, texts: Path) -> dict[str, Any]:
    """Run this script as a process of its own on the copies and return what it measured."""
    settings = [part for name in SETTINGS for part in (f"--{name}", str(getattr(arguments, name)))]
    command = [sys.executable, __file__, "--measure", "--text", str(texts), *settings]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make sentences and pairs from a folder; return seconds, counts and peak memory after each step."""
    from bertlab.cli.arguments import NspArguments
    from bertlab.pretraining import pairs
    from bertlab.pretraining.sentences import write_sentences
    from bertlab.pretraining.text_files import find_text_files

    (folder,) = map(Path, arguments.text)
    files = find_text_files([folder])
    nsp = NspArguments(
        document_unit=arguments.document_unit,
        sentence_splitter=arguments.sentence_splitter,
        language=arguments.language,
    )
    step, sentences = timed(partial(write_sentences, files, nsp, folder.parent / "sentences.arrow"))
    steps: dict[str, dict[str, float]] = {"sentences": {"rows": len(sentences), **step}}
    for policy in POLICIES:
        path, made = folder.parent / f"{policy}.arrow", pairs.Policy(policy, arguments.negatives)
        step, table = timed(partial(pairs.make_pairs, sentences, path, made, seed=arguments.seed))
        steps[f"pairs_{policy}"] = {"rows": len(table), "not_next": sum_of(table, "label"), **step}
    return {"steps": steps, "texts_per_second": round(text_rate(sentences, table))}


def timed(step: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return seconds by the clock and of the processor and the peak memory so far, with the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = step()
    used = {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),
        # Linux counts in kilobytes, macOS in bytes.
        "peak_rss_mb": round(peak() / (1e6 if sys.platform == "darwin" else 1e3)),
    }
    return used, result


def peak() -> int:
    """Return the peak memory of this process in kilobytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def sum_of(table: Any, column: str) -> int:
    """Return the sum of a column of whole numbers."""
    return int(table.data.column(column).to_numpy().sum())


def text_rate(sentences: Any, table: Any) -> float:
    """Return pairs a second whose text `pair_texts` fetches, in batches of 1000 from all over the table."""
    from bertlab.pretraining.pairs import pair_texts

    starts = [i * max(1, len(table) - 1000) // BATCHES for i in range(BATCHES)]
    began, count = time.perf_counter(), 0
    for start in starts:
        count += len(pair_texts(sentences, table[start : start + 1000])[0])
    return count / (time.perf_counter() - began)


def with_rates(measured: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the measurement with megabytes of text a second for each step, and from text to pairs by policy.

    Rates are by the clock, and by the processor's time, which other work on the machine disturbs less.
    """
    steps = measured["steps"]
    add_rates(steps.values(), size)
    overall: dict[str, dict[str, float]] = {}
    for policy in POLICIES:
        both = (steps["sentences"], steps[f"pairs_{policy}"])
        for name in ("seconds", "cpu_seconds"):
            overall.setdefault(policy, {})[name] = round(sum(step[name] for step in both), 2)
    add_rates(overall.values(), size)
    highest = max(step["peak_rss_mb"] for step in steps.values())
    return {**measured, "text_to_pairs": overall, "peak_rss_mb": highest}


def add_rates(steps: Iterable[dict[str, float]], size: int) -> None:
    """Add megabytes, and sentences or pairs, per second to each step, for a text of `size` bytes."""
    for step in steps:
        step["mb_per_second"] = round(size / 1e6 / step["seconds"], 1)
        if "rows" in step:
            step["rows_per_second"] = round(step["rows"] / step["seconds"])
        step["mb_per_cpu_second"] = round(size / 1e6 / step["cpu_seconds"], 1)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
