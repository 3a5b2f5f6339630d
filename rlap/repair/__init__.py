"""What a person with bad data needs: what is wrong with them, and a network that is
better for knowing it, or the one that there was."""

from rlap.repair.diagnosis import Diagnosis, Rate, diagnose
from rlap.repair.repairing import Repair, Tried, repair

__all__ = ["Diagnosis", "Rate", "Repair", "Tried", "diagnose", "repair"]
