"""What several processes must agree on before they train: who does the work, which GPUs are idle, what is sharded."""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, TrainingArguments

from bertlab.cli.arguments import RunArguments
from bertlab.data import cache
from bertlab.errors import UserError
from bertlab.training import callbacks, distributed, failures, precision, trainer
from bertlab.training.arguments import training_arguments, use_all_threads
from bertlab.training.signals import Signals


def _args(world: int = 1, kind: DistributedType = DistributedType.NO, device: str = "cpu", gpus: int = 0, **more):
    """Return what of TrainingArguments is looked at."""
    state = SimpleNamespace(distributed_type=kind)
    settings = {"average_tokens_across_devices": True, "_n_gpu": gpus, **more}
    settings.setdefault("accelerator_config", SimpleNamespace(split_batches=False, even_batches=True))
    settings.setdefault("dataloader_drop_last", False)
    settings.setdefault("gradient_accumulation_steps", 1)
    return SimpleNamespace(
        world_size=world, distributed_state=state, device=torch.device(device), n_gpu=gpus, **settings
    )


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets the environment of a launcher and the number of visible GPUs."""

    def launch(gpus: int = 0, **environment: str) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return launch


def test_one_process_of_several_gpus_uses_one_and_says_how_to_use_all(launched, capsys):
    launched(gpus=4)
    args = _args(device="cuda", gpus=4)
    distributed.check_processes(args)
    assert args._n_gpu == 1, "Trainer wraps the model in DataParallel where this is more"
    assert capsys.readouterr().err == (
        "warning: 4 GPUs are visible and 1 is used; `accelerate launch --multi_gpu --num_processes 4` uses all.\n"
    )


@pytest.mark.parametrize(
    ("gpus", "local", "shown"), [(8, 2, "8 GPUs are visible and 2 are used"), (2, 2, ""), (1, 4, "")]
)
def test_idle_gpus_beside_several_processes_are_named(gpus: int, local: int, shown: str, launched, capsys):
    launched(gpus=gpus, LOCAL_WORLD_SIZE=str(local))
    distributed.check_processes(_args(local, DistributedType.MULTI_GPU, "cuda", 1))
    err = capsys.readouterr().err
    assert (shown in err) if shown else err == ""


def test_trainer_does_not_come_to_use_data_parallel(launched, tmp_path: Path, monkeypatch, capsys):
    """Where it runs without a launcher, TrainingArguments count every visible GPU."""
    from accelerate.state import AcceleratorState

    launched(gpus=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    training = {"output_dir": str(tmp_path), "do_train": True, "per_device_train_batch_size": 32}
    data = SimpleNamespace(train=None, eval_split=None, selection=None, stream=None, mlm_metrics=())
    try:
        assert TrainingArguments(output_dir=str(tmp_path)).n_gpu == 4, "or there is nothing to guard against"
        args = training_arguments(training, RunArguments(precision="fp32"), data, training)
        assert (args.device.type, args.n_gpu, args.train_batch_size) == ("cuda", 1, 32)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert "4 GPUs are visible and 1 is used" in capsys.readouterr().err


@pytest.mark.parametrize(("visible", "is_said"), [("0", True), ("0,1", True), ("", False), ("-1", False)])
def test_a_gpu_that_is_named_and_not_there_is_warned_of(visible: str, is_said: bool, launched, capsys):
    launched(CUDA_VISIBLE_DEVICES=visible, LOCAL_WORLD_SIZE="1")
    distributed.warn_of_no_gpu()
    assert (f"warning: CUDA_VISIBLE_DEVICES is {visible}, but PyTorch" in capsys.readouterr().err) is is_said


@pytest.mark.parametrize("kind", [DistributedType.NO, DistributedType.MULTI_CPU])
def test_fsdp_that_accelerate_would_leave_out_is_refused(kind: DistributedType, launched):
    launched(ACCELERATE_USE_FSDP="true")
    with pytest.raises(UserError, match=r"asks for FSDP.*2 × cpu.*Use GPUs, or configs/accelerate/cpu_2_processes"):
        distributed.check_processes(_args(2, kind))
    distributed.check_processes(_args(2, DistributedType.FSDP, "cuda"))


@pytest.fixture(scope="module")
def model(tiny_model: Path):
    return AutoModelForSequenceClassification.from_pretrained(tiny_model)


def test_a_layer_the_model_does_not_have_is_refused_and_its_own_are_named(model, launched):
    launched(FSDP_TRANSFORMER_CLS_TO_WRAP="RobertaLayer")
    distributed.check_layers(model)  # without FSDP
    launched(ACCELERATE_USE_FSDP="true")
    with pytest.raises(UserError, match=r"this model has no RobertaLayer\. Its layers are BertLayer; "):
        distributed.check_layers(model)
    typed = ["--fsdp_transformer_layer_cls_to_wrap", "BertLayer", "script.py"]
    named = launch_command_parser().parse_args(typed).fsdp_transformer_layer_cls_to_wrap
    launched(FSDP_TRANSFORMER_CLS_TO_WRAP=named)
    distributed.check_layers(model)


@pytest.mark.parametrize(("world", "average", "warned"), [(2, False, True), (2, True, False), (1, False, False)])
def test_giving_up_the_exact_loss_is_said(world: int, average: bool, warned: bool, capsys):
    distributed.check_processes(_args(world, DistributedType.MULTI_CPU, average_tokens_across_devices=average))
    assert ("--average_tokens_across_devices false" in capsys.readouterr().err) == warned


def test_parameters_without_a_gradient_name_the_flag_that_looks_for_them(tmp_path: Path):
    error = RuntimeError("Expected to have finished reduction in the prior iteration before starting a new one.")
    assert "--ddp_find_unused_parameters true" in str(failures.explain(error, tmp_path, {}))
    assert failures.explain(RuntimeError("something else"), tmp_path, {}) is None


def test_a_file_is_fresh_if_this_run_wrote_it(tmp_path: Path):
    file = tmp_path / "cached"
    assert not cache.is_fresh(file, overwrite=False, started=0)
    file.touch()
    os.utime(file, (1000, 1000))
    assert cache.is_fresh(file, overwrite=False, started=2000)
    assert not cache.is_fresh(file, overwrite=True, started=2000)
    assert cache.is_fresh(file, overwrite=True, started=900)


def test_a_second_process_waits_for_the_first(tmp_path: Path):
    order = []

    def second() -> None:
        with cache.folder_lock(tmp_path):
            order.append("second")

    with cache.folder_lock(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_split_in_memory_needs_no_lock():
    with cache.cache_lock(Dataset.from_dict({"text": ["a"]})) as lock:
        assert lock is None


def test_batches_that_accelerate_would_split_are_refused():
    with pytest.raises(UserError, match="split_batches: a batch would not be what"):
        distributed.check_processes(_args(accelerator_config=SimpleNamespace(split_batches=True)))


def test_processes_that_would_wait_for_one_without_a_batch_are_refused():
    with pytest.raises(UserError, match="even_batches false: a process without a batch would leave the others"):
        distributed.check_processes(_args(accelerator_config=SimpleNamespace(split_batches=False, even_batches=False)))


def test_torchruns_one_thread_is_undone_as_accelerates_is(monkeypatch: pytest.MonkeyPatch):
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    use_all_threads()
    assert given == []  # somebody's own choice
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    use_all_threads()
    assert given == [8]


def test_batches_are_copied_while_a_gpu_computes_and_what_the_user_set_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    data = SimpleNamespace(train=None, eval_split=None, selection=None, stream=None, mlm_metrics=())
    training = {"output_dir": str(tmp_path), "do_train": True}

    def config(stream: object = None, **more: object) -> tuple[bool, bool | None, bool]:
        data.stream = stream
        found = training_arguments({**training, **more}, RunArguments(precision="fp32"), data, training)
        return (
            found.accelerator_config.non_blocking,
            found.accelerator_config.dispatch_batches,
            found.accelerator_config.use_seedable_sampler,
        )

    assert config() == (True, None, True)
    assert config(dataloader_pin_memory=False)[0] is False
    assert config(use_cpu=True)[0] is False  # there is nothing to copy to, and Trainer would advise to pin memory
    own = {"accelerator_config": '{"use_seedable_sampler": false}'}
    assert config(stream="rows", **own) == (True, False, False)


@pytest.mark.parametrize(
    ("processes", "use_cpu", "visible", "said"),
    [("8", False, "all", True), ("8", True, "all", False), ("8", False, "-1,-1", False), ("1", False, "all", False)],
)
def test_processes_for_gpus_that_are_not_there_are_told_in_one_line(
    processes: str, use_cpu: bool, visible: str, said: bool, launched, tmp_path: Path, monkeypatch, capsys
):
    """`accelerate launch --config_file configs/accelerate/multi_gpu.yaml` starts them all the same."""
    launched(LOCAL_WORLD_SIZE=processes, CUDA_VISIBLE_DEVICES=visible)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    data = SimpleNamespace(train=None, eval_split=None, selection=None, stream=None, mlm_metrics=())
    training = {"output_dir": str(tmp_path), "do_train": True, "use_cpu": use_cpu}
    assert training_arguments(training, RunArguments(precision="fp32"), data, training).use_cpu
    warned = f"warning: no GPU is found here, so {processes} processes share this machine's processor. "
    assert (warned in capsys.readouterr().err) == said


class _Group:
    """torch.distributed of a run on GPUs whose other process says whether gloo reaches it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, other: bool) -> None:
        self.made: list[str] = []
        self.reduced: list[tuple[int, str | None]] = []
        self.other = other
        for name in ("get_backend", "new_group", "all_reduce"):
            monkeypatch.setattr(torch.distributed, name, getattr(self, name))

    def get_backend(self) -> str:
        return "nccl"

    def new_group(self, backend: str) -> str:
        self.made.append(backend)
        return backend

    def all_reduce(self, flag: torch.Tensor, operation: object, group: str | None = None) -> None:
        self.reduced.append((int(flag), group))
        if operation == torch.distributed.ReduceOp.MIN:
            flag.fill_(min(int(flag), int(self.other)))


@pytest.mark.parametrize(("here", "there"), [(True, True), (False, True), (True, False)])
def test_signals_go_through_the_default_group_where_gloo_cannot_reach_every_machine(here, there, monkeypatch):
    group = _Group(monkeypatch, there)
    monkeypatch.setattr(callbacks, "_is_reachable", lambda processes: here)
    stop = callbacks.StopOnSignal(Signals())
    stop.on_train_begin(_args(16), None, None)
    stop.on_step_end(_args(16), None, SimpleNamespace())
    assert group.made == ["gloo"] * (here and there)
    assert group.reduced[1:] == [(0, "gloo" if here and there else None)]


def test_a_host_name_of_this_machine_alone_is_not_reached_by_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    assert callbacks._is_reachable(8)
    assert not callbacks._is_reachable(16)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    assert callbacks._is_reachable(16)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")

    def unknown(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.create_server", unknown)
    assert not callbacks._is_reachable(16)


def test_at_the_end_the_group_of_processes_is_left():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    state = PartialState()
    trainer.finish(SimpleNamespace(args=SimpleNamespace(push_to_hub=False), accelerator=SimpleNamespace(state=state)))
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(("bf16", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_without_bf16_is_said_to_have_none_and_fp16_is_named(bf16: bool, chosen: str, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16 or including_emulation)
    name, why = precision.automatic(cpu=False)
    assert name == chosen
    assert ("--precision fp16 is faster" in why) == (not bf16)


def test_an_apple_gpu_is_given_bf16_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    name, why = precision.automatic(cpu=False)
    assert name == "fp32"
    assert "--precision bf16" in why
    assert precision.choose("bf16", {}, cpu=False) == {"bf16": True, "fp16": False}
