"""Small texts of documents with topics, and runs of run_nsp.py on them in this process."""

import random
from pathlib import Path
from typing import Any

from running import QUIET, drawing, to_argv

from bertlab.pretraining.pairs import RANGES

# All in the tiny model's vocabulary. A document's sentences share the words of its topic: word overlap is a strong
# baseline.
TOPICS = (
    "cat dog house",
    "sun sea hill",
    "book film story",
    "app phone update",
    "guitar flute song",
    "bread street door",
)
_COMMON = "the a this that he she they was were is and but in on at with again today never always small old new good"
COMMON = _COMMON.split(" ")


def paragraph(dice: random.Random, topic: str, sentences: int) -> str:
    """Return sentences of 4 to 9 words, each with a word of the topic, each begun with a capital."""
    made = []
    for _ in range(sentences):
        body = dice.choices(COMMON, k=dice.randint(3, 8))
        body.insert(dice.randrange(len(body)), dice.choice(topic.split()))
        made.append(" ".join(body).capitalize() + ".")
    return " ".join(made)


def paragraphs(documents: int = 40, seed: int = 0) -> list[str]:
    """Return documents of 2 to 6 sentences."""
    dice = random.Random(seed)
    return [paragraph(dice, TOPICS[index % len(TOPICS)], dice.randint(2, 6)) for index in range(documents)]


def write_text(path: Path, documents: int = 40, seed: int = 0) -> Path:
    """Write a text with a document in each line."""
    path.write_text("\n".join(paragraphs(documents, seed)) + "\n", encoding="utf-8")
    return path


def pretrain(output_dir: Path, *, drawn: bool = False, **settings: Any) -> int:
    """Run run_nsp.py in this process, quietly on the CPU by default; return its exit status."""
    import run_nsp

    with drawing(drawn):
        return run_nsp.main(to_argv({**QUIET, "output_dir": output_dir, **settings}))


def ranges(split: Any) -> list[tuple[int, ...]]:
    """Return the four ends of every pair of a split."""
    return list(zip(*(split[name][:] for name in RANGES), strict=True))
