"""Secrets of a run: access tokens, which are sent to the Hub and shown nowhere."""

import os
import re

FLAGS = ("token", "hub_token")
# What environment variables that hold one are called: HF_TOKEN, WANDB_API_KEY, COMET_API_KEY…
_NAME = re.compile(r"(TOKEN|API_KEY|PASSWORD|SECRET)$")
# A token of the Hub, a header that carries one, a password in a proxy's address.
_SHAPE = re.compile(r"\bhf_\w{8,}|(?<=Bearer )[^\s'\"]+|(?<=://)[^\s/@]+:[^\s/@]+(?=@)")
# Shorter ones would hide ordinary words.
_SHORTEST = 8
HIDDEN = "***"

_told: set[str] = set()


def remember(value: str | None) -> None:
    """Keep a token that was passed by a flag, so that no message repeats it; one too short to be any is no secret."""
    if value and len(value) >= _SHORTEST:
        _told.add(value)


def hide(text: str) -> str:
    """Return a message without any secret: those remembered, those of the environment, and what looks like one."""
    named = (value for name, value in os.environ.items() if _NAME.search(name) and len(value) >= _SHORTEST)
    for value in sorted({*_told, *named}, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _SHAPE.sub(HIDDEN, text)
