"""What goes wrong with data: noise on inputs, on labels, on recordings."""

from rlap.corruption.corrupted import (
    INPUT_KINDS,
    KINDS,
    LABEL_KINDS,
    Corrupted,
    NoisySplit,
    corrupt,
)
from rlap.corruption.waveform_noise import add_noise, corrupt_waveforms, noisy_waveforms

__all__ = [
    "INPUT_KINDS",
    "KINDS",
    "LABEL_KINDS",
    "Corrupted",
    "NoisySplit",
    "add_noise",
    "corrupt",
    "corrupt_waveforms",
    "noisy_waveforms",
]
