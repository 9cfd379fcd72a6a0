"""What runs take: operations, steps, bytes on disk, jobs. Nothing is read or trained for it."""

import math
from typing import NamedTuple

from lib import tables, tasks
from lib.config import Setting
from lib.grids import Grid
from lib.groups import SAMPLE_EXAMPLES, SAMPLE_RUNS
from lib.measures.representation import NAMES
from lib.methods import parse_method
from lib.sizes import Shape, shape_of, size_of

#: Padding that batches of like lengths leave (lib.batches: 5 to 10 %).
PADDED = 1.08
#: Forward passes that a step is worth. Backward needs one for the gradients of the activations and
#: one for those of the weights; frozen weights have none, and below a head nothing needs any.
FULL, ADAPTERS, PROBE = 3, 2, 1


class Work(NamedTuple):
    """What training and evaluating one run takes.

    ``trained`` of ``parameters`` are updated; ``tokens`` of training text, padding left out;
    ``training`` and ``evaluation`` in floating-point operations; ``shared``: of continued
    pretraining, once for all seeds of a setting.
    """

    parameters: int
    trained: int
    steps: int
    tokens: float
    training: float
    evaluation: float
    shared: float

    @property
    def operations(self) -> float:
        """Of one run."""
        return self.training + self.evaluation


def _outputs(setting: Setting) -> tuple[int, int]:
    """Outputs of the head, and columns of the logits that are stored."""
    task = tasks.get(setting.task, setting.text_columns, setting.label_column)
    return (1 if task.choices > 1 else task.n_classes), task.n_classes


def evaluated_rows(setting: Setting) -> tuple[int, int]:
    """Development rows that are evaluated, and those that select a checkpoint."""
    dev = size_of(setting).dev
    held = dev // 2 if setting.eval_split == "test-half" else 0
    return min(dev - held, setting.eval_rows or dev), held


def _trained(setting: Setting, shape: Shape, outputs: int) -> tuple[int, int]:
    """Weights that are updated, and the forward passes that a step is worth."""
    methods = parse_method(setting.method)
    head = shape.width * outputs + (0 if shape.decoder else outputs)
    if "head" in methods:
        return head, PROBE
    if "lora" in methods:
        values = shape.key_width or shape.width
        updates = methods["lora"].rank * (3 * shape.width + values) * shape.layers
        dense = 0 if shape.decoder else shape.width * (shape.width + 1)
        return updates + dense + head, ADAPTERS
    return shape.parameters(outputs), FULL


def work_of(setting: Setting) -> Work:
    """What one run of a setting takes.

    Texts longer than ``max_length`` are counted as so long, others as the mean, so where some are
    cut the mean is a little too large (by 17 % for BoolQ cut at 128).
    """
    shape, size = shape_of(setting.backbone), size_of(setting)
    outputs, _ = _outputs(setting)
    trained, passes = _trained(setting, shape, outputs)
    tokens = min(size.tokens, setting.max_length)
    forward = shape.forward(tokens, outputs) * size.sequences
    rows = setting.train_rows or size.train
    seen, held = evaluated_rows(setting)
    looks = setting.epochs * setting.evals_per_epoch
    surt = parse_method(setting.method).get("surt")
    shared = 0.0
    if surt:
        vocabulary = 2 * tokens * shape.width * (shape.vocabulary + shape.width) * size.sequences
        shared = surt.epochs * rows * FULL * (forward + vocabulary) * PADDED
    return Work(
        parameters=shape.parameters(outputs),
        trained=trained,
        steps=setting.epochs * math.ceil(rows / setting.batch_size),
        tokens=setting.epochs * rows * tokens * size.sequences,
        training=setting.epochs * rows * forward * passes * PADDED,
        evaluation=(seen + looks * held) * forward,
        shared=shared,
    )


class Stored(NamedTuple):
    """Bytes of one run on disk: layer vectors, which are temporary; what is kept; and a checkpoint,
    which is not written here.
    """

    vectors: float
    kept: float
    checkpoint: float


_HEADER = 128  # of an .npy file
_RECORD = 2_500  # run.json
_ID = 6  # characters of an example id, at four bytes each
_LOG = 17.5  # bytes of a number in the training log
_TRAINED_FILES, _VECTOR_FILES = 5, 2


def stored(setting: Setting) -> Stored:
    """Bytes that one run of a setting leaves on disk."""
    shape, size = shape_of(setting.backbone), size_of(setting)
    seen, _ = evaluated_rows(setting)
    outputs, columns = _outputs(setting)
    vectors = 2 * (shape.layers + 1) * seen * size.sequences * shape.width * 4
    steps = work_of(setting).steps
    kept = seen * (4 * columns + 8 + 4 * _ID) + steps * _LOG * (shape.layers + 6) + _RECORD
    return Stored(
        vectors=vectors + _VECTOR_FILES * _HEADER,
        kept=kept + 3 * _HEADER,
        checkpoint=4.0 * shape.parameters(outputs),
    )


#: Bytes of a row of a group's tables after compression, and of each file beside its rows; as the
#: committed tables have them.
_ROWS = {"examples": 5.5, "logits": 2.6, "training": 6.5, "distances": 9.6}
_FILES = 34_000 + 9_500 + 4 * 2_500  # runs, measures, the four others


def table_bytes(setting: Setting, n_runs: int, *, sample: bool = False) -> float:
    """Bytes of the tables of a group of runs of one setting; ``sample``: with layer vectors."""
    shape = shape_of(setting.backbone)
    seen, _ = evaluated_rows(setting)
    stretches = min(tables.STRETCHES, work_of(setting).steps)
    rows = {
        "examples": seen,
        "logits": seen * n_runs * _outputs(setting)[1],
        "training": n_runs * (stretches * (shape.layers + 4) + shape.layers + 3),
        "distances": n_runs * (n_runs - 1) / 2 * (2 * shape.layers + 1) * len(NAMES),
    }
    total = _FILES + sum(_ROWS[name] * number for name, number in rows.items())
    few = min(n_runs, SAMPLE_RUNS) * (shape.layers + 1) * min(seen, SAMPLE_EXAMPLES) * shape.width
    return total + (2 * few if sample else 0)


class Load(NamedTuple):
    """What a configuration asks of a scheduler: jobs of each kind, and files that are written."""

    training: int
    measuring: int
    analysing: int
    run_files: int
    engine_files: int

    @property
    def jobs(self) -> int:
        """All jobs that a cluster would get; bookkeeping runs where the engine runs."""
        return self.training + self.measuring + self.analysing

    def submissions(self, together: int) -> int:
        """Submissions if so many training jobs are one (``--group-components``)."""
        return math.ceil(self.training / together) + self.measuring + self.analysing


def load_of(grid: Grid, *, seeds_per_job: int | None = None) -> Load:
    """Jobs and files of a grid; ``seeds_per_job`` in place of the grid's own.

    Of engine files, one is Snakemake's record of an output, one a job's log, one its notebook.
    """
    from lib.jobs import analyses_of

    step = seeds_per_job or grid.seeds_per_job
    training = len(grid.settings) * math.ceil(len(grid.seeds) / step)
    analysing = len(analyses_of(grid))
    measuring = len(grid.groups)
    n_runs = len(grid.settings) * len(grid.seeds)
    outputs = training + measuring * len(tables.TABLES) + analysing
    return Load(
        training=training,
        measuring=measuring,
        analysing=analysing,
        run_files=n_runs * (_TRAINED_FILES + _VECTOR_FILES),
        engine_files=outputs + 2 * (training + measuring + analysing),
    )
