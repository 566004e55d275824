"""TrainingArguments of a run: what depends on data and machine, and which combinations are refused."""

import inspect
import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import TrainingArguments, enable_full_determinism, get_scheduler, set_seed
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR
from transformers.trainer_utils import SchedulerType

from bertlab.cli.arguments import RunArguments
from bertlab.console import warning
from bertlab.errors import UserError, did_you_mean, first_line
from bertlab.evaluation import metrics
from bertlab.io import package_folder
from bertlab.training import distributed, memory, precision

if TYPE_CHECKING:
    from bertlab.data.dataset import Data

# The arguments of every schedule, and the flags that set them.
OF_TRAINER = {
    "optimizer": "optim",
    "num_warmup_steps": "warmup_steps",
    "num_training_steps": "max_steps",
    "last_epoch": "resume auto",
}
# What pip calls a tracker that Trainer calls otherwise, or what one needs beside its own package.
TRACKER_PACKAGES = {"azure_ml": "azureml-sdk", "dagshub": "dagshub mlflow"}
# The schedules that follow the evaluations; transformers passes all settings on to them.
FOLLOWING = {SchedulerType.REDUCE_ON_PLATEAU: ReduceLROnPlateau, SchedulerType.GREEDY: GreedyLR}


def global_batch(args: TrainingArguments) -> int:
    """Return the rows of one optimizer step, over all processes and micro-batches."""
    return int(args.train_batch_size * args.gradient_accumulation_steps * args.world_size)


def schedule_settings(args: TrainingArguments) -> dict[str, Any]:
    """Return what --lr_scheduler_kwargs says, which TrainingArguments has parsed."""
    return dict(cast(dict[str, Any], args.lr_scheduler_kwargs or {}))


def training_arguments(
    training: Mapping[str, Any], run: RunArguments, data: "Data", given: Collection[str]
) -> TrainingArguments:
    """Return TrainingArguments with what depends on data and machine filled in.

    The best epoch is chosen by the first metric. A value the user gave is never replaced; `given` names the flags
    that were.

    Raises:
        UserError: a combination that TrainingArguments refuses, or that would select on reported data.
    """
    values = _of_machine(training, run)
    _refuse_to_decide_by_nothing(values, run, data)
    values = _with_saves(_with_selection(values, data, given), given)
    values = _with_data(values, data, given)
    _refuse_missing_trackers(values.get("report_to"))
    try:
        args = SavedArguments(**values)
    except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"the training flags contradict each other: {reason}.", "Change one of them, or leave it out."
        ) from error
    if not (args.bf16 or args.fp16):
        # A flag overrides the launcher, which TrainingArguments follow where both are off.
        args.mixed_precision = "no"
    if "do_eval" in given and not training["do_eval"]:
        # TrainingArguments turns it on for any --eval_strategy; a sweep's trials must not score evaluation splits.
        args.do_eval = False
    _follow_metric(args)
    _refuse_bad_schedule(args)
    distributed.check_processes(args)
    _refuse_to_drop_all(args, data)
    _refuse_to_do_nothing(args, data)
    return args


def _of_machine(training: Mapping[str, Any], run: RunArguments) -> dict[str, Any]:
    """Return training values with device, precision and what several processes need; `run` gets its precision."""
    values = dict(training)
    cpu = bool(values.get("use_cpu")) or distributed.uses_cpu()
    if not (cpu or torch.accelerator.is_available()):
        distributed.warn_of_no_gpu()
        cpu = True
    values.setdefault("disable_tqdm", not sys.stderr.isatty())  # a log is no place for a progress bar
    values["use_cpu"] = cpu
    run.precision = precision.requested(run.precision, values)  # type: ignore[assignment]  # bf16 and fp16 are choices
    values.update(precision.choose(run.precision, values, cpu))
    # Every parameter of an encoder takes part in every step; to look for others costs a walk through each graph.
    values.setdefault("ddp_find_unused_parameters", False)
    if os.environ.get("WORLD_SIZE", "1") == "1":
        values.pop("ddp_backend", None)  # TrainingArguments would wait for a process group
        if values.get("fsdp"):
            raise UserError("--fsdp shards a model over several processes; this is one.", "Use accelerate launch.")
    if values.get("deepspeed") and package_folder("deepspeed") is None:
        raise UserError("--deepspeed: the package deepspeed is not installed.", "pip install deepspeed")
    # Batches are copied to a GPU while it computes, which takes pinned memory.
    copies = {"non_blocking": not cpu and values.get("dataloader_pin_memory", True)}
    values["accelerator_config"] = {**copies, **json.loads(values.get("accelerator_config") or "{}")}
    return values


def _with_data(values: dict[str, Any], data: "Data", given: Collection[str]) -> dict[str, Any]:
    """Return training values with what masked language modeling and a stream need."""
    if data.mlm_metrics:
        # Rows bring the seed of their masks to the collator; the labels of both heads are one tensor.
        return {**values, "label_names": ["labels"], "remove_unused_columns": False}
    if data.stream:
        # Each process takes its own rows and pads them; by default the first deals out tensors, all of one length.
        values["accelerator_config"] = {"dispatch_batches": False, **values["accelerator_config"]}
        # A stream has one epoch, which ends with the run.
        steps = {} if "save_strategy" in given else {"save_strategy": "steps"}
        return {"remove_unused_columns": False, **values, **steps}
    return values


def _refuse_to_do_nothing(args: TrainingArguments, data: "Data") -> None:
    if not args.do_train and not data.reported_splits(args):
        hint = "Hold one out with --validation_fraction, or name its files or splits."
        if data.test:  # --do_eval alone leaves them out
            hint = f"Add --do_predict, which predicts {' and '.join(data.test)}, and scores labelled rows."
        raise UserError(f"there is no split to evaluate or predict, only {', '.join(data.splits)}.", hint)


def _refuse_to_drop_all(args: TrainingArguments, data: "Data") -> None:
    if not (args.do_train and args.dataloader_drop_last and data.train):
        return
    rows, batch = len(data.splits[data.train]), args.train_batch_size * args.world_size
    if rows < batch:
        raise UserError(
            f"--dataloader_drop_last leaves none of the {rows} training rows: a batch takes {batch}.",
            "Leave it out, or pass a smaller --per_device_train_batch_size.",
        )


def _with_selection(values: dict[str, Any], data: "Data", given: Collection[str]) -> dict[str, Any]:
    """Return training values that choose the best epoch on the selection split, which no report looks at."""
    if data.eval_split is None and values.get("eval_strategy", "no") != "no":
        raise UserError(
            f"--eval_strategy {values['eval_strategy']}: there is no split to evaluate.",
            "Name a --validation_file, or hold one out with --validation_fraction 0.1.",
        )
    values = _with_best_metric(values, data)
    if data.selection is None:
        _warn_of_no_selection(values)
        return values
    saves = values.get("save_strategy") if "save_strategy" in given else None
    if values.get("load_best_model_at_end", True):
        _refuse_other_saves(values.get("eval_strategy"), saves)
    chosen = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    if saves == "steps":  # the best is chosen among the models that are saved
        chosen |= {"eval_strategy": "steps", "eval_steps": values.get("save_steps", TrainingArguments.save_steps)}
    return {**chosen, **values}


def _with_best_metric(values: dict[str, Any], data: "Data") -> dict[str, Any]:
    """Return training values with the metric by which Trainer knows the best model, and its direction."""
    if data.selection is not None or values.get("save_strategy") == "best":
        values = {"metric_for_best_model": data.metrics[0], **values}
    if not values.get("metric_for_best_model"):
        return values
    best = values["metric_for_best_model"].removeprefix("eval_")
    _refuse_unknown_metric(best, data)
    # Trainer takes the highest value of anything that is not called a loss.
    return {"greater_is_better": metrics.GREATER_IS_BETTER.get(best, True), **values}


def _warn_of_no_selection(values: Mapping[str, Any]) -> None:
    """Warn of decisions by the split that is reported, and of a metric that decides nothing."""
    follows = values.get("lr_scheduler_type") in FOLLOWING
    if values.get("load_best_model_at_end") or follows:
        what = "the learning rate follows" if follows else "the best epoch is chosen on"
        warning(f"{what} the split that is reported; --selection_fraction 0.1 avoids that.")
    elif values.get("metric_for_best_model") and values.get("save_strategy") != "best":
        warning("--metric_for_best_model has no effect: no epoch is selected. --selection_fraction 0.1 selects one.")


def _with_saves(values: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return training values that save at each evaluation in mid-epoch, so that the best one can be loaded."""
    if values.get("eval_strategy") != "steps" or not values.get("load_best_model_at_end") or "save_strategy" in given:
        return values
    return {"save_steps": values.get("eval_steps") or values["logging_steps"], **values, "save_strategy": "steps"}


def _refuse_to_decide_by_nothing(values: Mapping[str, Any], run: RunArguments, data: "Data") -> None:
    """Refuse what evaluations decide in a run that has none during training."""
    schedule = values.get("lr_scheduler_type")
    deciding = {
        "--load_best_model_at_end": values.get("load_best_model_at_end"),
        "--save_strategy best": values.get("save_strategy") == "best",
        "--early_stopping_patience": run.early_stopping_patience,
        f"--lr_scheduler_type {schedule}": schedule in FOLLOWING,
    }
    flag = next((flag for flag, given in deciding.items() if given), None)
    evaluates = values.get("eval_strategy", "no" if data.selection is None else "epoch")
    if flag is not None and evaluates == "no" and values["do_train"]:
        hint = "Pass --eval_strategy steps." if data.stream else "Pass --selection_fraction 0.1, which holds rows out."
        hint = "Leave --eval_strategy out." if data.selection else hint
        raise UserError(f"{flag}: nothing is evaluated during training.", hint)


def _refuse_other_saves(evaluates: str | None, saves: str | None) -> None:
    """Refuse evaluations of which the best could not be loaded."""
    if evaluates == "no":
        raise UserError(
            "--eval_strategy no: evaluations on the selection split choose the best epoch.",
            "Leave it out, or pass --selection_fraction 0.",
        )
    if evaluates and saves and saves not in (evaluates, "best"):
        raise UserError(
            f"--eval_strategy {evaluates} and --save_strategy {saves}: the best model is chosen among those saved.",
            "Leave one of them out.",
        )


def _refuse_unknown_metric(name: str, data: "Data") -> None:
    """Refuse a metric that Trainer would miss after the first evaluation."""
    names = ("loss", *data.metrics, *data.mlm_metrics)
    if name not in names:
        known = f"Add it to --metric_name, or choose from: {', '.join(names)}."
        hint = known if name in metrics.METRICS else did_you_mean(name, names)
        raise UserError(f"--metric_for_best_model {name}: this run has no such metric.", hint)


def _refuse_missing_trackers(report_to: list[str] | None) -> None:
    """Refuse a tracker that is not installed before anything is loaded for it."""
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in report_to or []:
        if name not in ("none", "all", *get_available_reporting_integrations()):
            if name not in INTEGRATION_TO_CALLBACK:  # pip would install whatever has that name
                raise UserError(
                    f"--report_to {name}: there is no such tracker.", did_you_mean(name, INTEGRATION_TO_CALLBACK)
                )
            package = TRACKER_PACKAGES.get(name, name)
            raise UserError(f"--report_to {name}: it is not installed.", f"pip install {package}")


def _follow_metric(args: TrainingArguments) -> None:
    """Let a schedule that follows the evaluations know what is better: Trainer takes every metric for a loss."""
    if args.lr_scheduler_type in FOLLOWING:
        mode = "max" if args.greater_is_better else "min"
        args.lr_scheduler_kwargs = {"mode": mode, **schedule_settings(args)}


def _refuse_bad_schedule(args: TrainingArguments) -> None:
    """Refuse settings that the schedule does not have or cannot do with before training begins."""
    schedule, settings = SchedulerType(args.lr_scheduler_type), schedule_settings(args)
    function = cast(Callable[..., Any], FOLLOWING.get(schedule, TYPE_TO_SCHEDULER_FUNCTION[schedule]))
    names = [name for name in inspect.signature(function).parameters if name not in OF_TRAINER]
    unknown = next((name for name in settings if name not in names), None)
    if unknown is not None:
        problem = f"--lr_scheduler_kwargs: the schedule {schedule.value} has no setting {unknown!r}."
        by_flag = f"Pass --{OF_TRAINER[unknown]} instead." if unknown in OF_TRAINER else ""
        raise UserError(problem, by_flag or did_you_mean(unknown, names))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=args.learning_rate)
    try:
        scheduler: Any = get_scheduler(schedule, optimizer, 1, 10, settings)
        for _ in range(10):  # warm-up and some steps after it
            optimizer.step()
            scheduler.step(*[0.0] * (schedule in FOLLOWING))
    except Exception as error:  # whatever a schedule's code raises
        raise UserError(
            f"--lr_scheduler_type {schedule.value}: {first_line(error)}.",
            "Its settings go into --lr_scheduler_kwargs name=value.",
        ) from error
    # All of them would raise a lower rate to it; that of greedy is fifty times what BERT is fine-tuned with.
    least = getattr(scheduler, "min_lrs", [settings.get("min_lr") or 0])[0]
    if least > args.learning_rate:
        raise UserError(
            f"--lr_scheduler_type {schedule.value}: its min_lr of {least:g} is above --learning_rate "
            f"{args.learning_rate:g}.",
            f"Pass --lr_scheduler_kwargs min_lr={args.learning_rate / 100:g}.",
        )


def set_seeds(args: TrainingArguments) -> None:
    """Seed Python, NumPy and torch, so that new weights, dropout and order follow --seed alone."""
    enable_full_determinism(args.seed) if args.full_determinism else set_seed(args.seed)


def prepare_process(args: TrainingArguments) -> None:
    """Seed this process; let one that trains on the CPU use the machine's cores, and keep the memory that it frees."""
    set_seeds(args)
    if args.use_cpu:
        use_all_threads()
        memory.keep_freed_memory()


def use_all_threads() -> None:
    """Undo a launcher's one thread per process, where the machine has more cores than that.

    `accelerate launch` sets OMP_NUM_THREADS=1 unless --num_cpu_threads_per_process is given, and torchrun unless it is
    set, which halves the speed of two cores. A number above 1 was chosen and is kept.
    """
    launched = any(name in os.environ for name in ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"))
    if not launched or os.environ.get("OMP_NUM_THREADS") != "1":
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def warn_unused_flags(run: RunArguments, args: TrainingArguments, data: "Data") -> None:
    """Say which flags about scores have no effect in this run, and that it has no split to score."""
    labelled = [name for name, split in data.splits.items() if "labels" in split.column_names]
    if args.do_eval and not set(labelled) & set(data.reported_splits(args)):
        test = [name for name in data.test if name in labelled]
        use_test = f"--validation_split_name {test[0]} evaluates on that split, " if test else ""
        warning(
            f"no split with labels is evaluated, so there will be no score; {use_test}--validation_fraction 0.1 holds "
            "one out."
        )
    unknown = [name for name in run.published if name not in data.metrics]
    if unknown:
        warning(f"--published {unknown[0]} is not shown: this run does not measure it.")
    if run.published_split is not None and run.published_split not in data.evaluation_splits:
        warning(f"--published_split {run.published_split}: this run does not report on such a split.")
    if run.metric_batch_size is not None and not data.test:
        warning("--metric_batch_size has no effect: there is no test split.")


class SavedArguments(TrainingArguments):
    """TrainingArguments whose pickle, which Trainer writes and EncoderTrainer deletes again, holds no token."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "hub_token": None}
