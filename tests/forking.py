"""Several processes of one run, forked from one that has imported the libraries: a launcher's each import them again.

They are told what a launcher tells them. What launchers do themselves is tested with launchers. They are not forked
from the test's own process, where PyTorch has computed: its threads do not survive a fork, and the next layer waits
for them for ever.
"""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from running import ROOT, drawing

SECONDS = 600.0  # ends processes that wait for one another for ever; no machine is that slow


def told_by_accelerate(config: str, *flags: str) -> dict[str, str]:
    """Return what `accelerate launch --config_file configs/accelerate/CONFIG FLAGS` adds to the environment."""
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(ROOT / "configs" / "accelerate" / config), *flags, "run.py"]
    )
    told = prepare_multi_gpu_env(_validate_launch_command(arguments)[0])
    return {name: value for name, value in told.items() if os.environ.get(name) != value}


def forked(
    main: Callable[[list[str]], int],
    argv: list[str],
    folder: Path,
    environments: Sequence[Mapping[str, str]] = ({}, {}),
) -> str:
    """Run `main(argv)` in as many processes as environments; assert that each ended well and return what they printed.

    They are on one machine unless their environments say otherwise. `folder` gets a file of output for each process.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    size = len(environments)
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["transformers.trainer", "datasets", "evaluate", "sklearn.linear_model"])
    logs = [folder / f"process-{rank}.log" for rank in range(size)]
    processes = [
        context.Process(
            target=_run, args=(main, argv, {**common, "RANK": rank, "LOCAL_RANK": rank, **told}, log), daemon=True
        )
        for rank, (told, log) in enumerate(zip(environments, logs, strict=True))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
    said = "".join(log.read_text(encoding="utf-8", errors="replace") for log in logs)
    assert [process.exitcode for process in processes] == [0] * size, said[-3000:]
    return said


def _run(main: Callable[[list[str]], int], argv: list[str], environment: Mapping[str, object], log: Path) -> None:
    stream = log.open("w", encoding="utf-8")
    for standard in (1, 2):
        os.dup2(stream.fileno(), standard)
    sys.stdout = sys.stderr = stream
    os.environ.update({name: str(value) for name, value in environment.items()})
    with drawing(False):
        status = main(argv)
    stream.flush()
    sys.exit(status)
