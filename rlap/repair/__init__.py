"""What a person with bad data needs: what is wrong with them, and a network that is
better for knowing it, or the one that there was."""

from rlap.repair.account import Diagnosis, Rate
from rlap.repair.bench import Tried
from rlap.repair.diagnosis import diagnose
from rlap.repair.repairing import Repair, repair

__all__ = ["Diagnosis", "Rate", "Repair", "Tried", "diagnose", "repair"]
