"""rlap: robust learning by attribution-guided partitioning and pruning.

The method of "Machine Unlearning for Robust DNNs: Attribution-Guided Partitioning and
Neuron Pruning in Noisy Environments" (MAKE 2025, 7(3), 95), stage by stage:
``attribute``, ``partition``, ``sensitivity``, ``prune``, ``finetune``; all of them in
one call: ``robustify``.

Calls on one model must not run side by side in several threads: they change its modes
and the global random state while they run, and give both back at the end.
"""

from rlap.algorithm import Result, robustify
from rlap.attribution import Scan, attribute, scan
from rlap.corruption.corrupted import Corrupted, corrupt
from rlap.corruption.waveform_noise import add_noise, corrupt_waveforms, noisy_waveforms
from rlap.data import Dataset, Split, load
from rlap.finetuning import finetune
from rlap.metrics import evaluate
from rlap.models.packed import load_networks
from rlap.network.layers import activations
from rlap.partition import (
    DegeneratePartitionWarning,
    Partition,
    partition,
    sample_scores,
    share_at_bounds,
)
from rlap.pruning import Mask, prune
from rlap.repair import Diagnosis, Repair, diagnose, repair
from rlap.sensitivity import sensitivity, top_units
from rlap.training.inference import predict
from rlap.training.loop import History, TrainingDiverged, train
from rlap.training.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "Corrupted",
    "Dataset",
    "DegeneratePartitionWarning",
    "Diagnosis",
    "History",
    "Mask",
    "Partition",
    "Recipe",
    "Repair",
    "Result",
    "Scan",
    "Split",
    "TrainingDiverged",
    "activations",
    "add_noise",
    "attribute",
    "corrupt",
    "corrupt_waveforms",
    "diagnose",
    "evaluate",
    "finetune",
    "load",
    "load_networks",
    "noisy_waveforms",
    "partition",
    "predict",
    "prune",
    "repair",
    "robustify",
    "sample_scores",
    "scan",
    "sensitivity",
    "share_at_bounds",
    "top_units",
    "train",
]
