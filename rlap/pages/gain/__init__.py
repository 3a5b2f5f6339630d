"""Where the gain comes from: the walk between protocols, longer training, what the
partition did, and every arm."""

from rlap.pages.gain import arms, longer, partitions, protocols

__all__ = ["arms", "longer", "partitions", "protocols"]
