"""How a batch of slices is laid out over the local devices."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def shardings(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """(one that spreads the leading axis over as many local devices as divide the batch, one that copies)."""
    devices = jax.local_devices()
    n_devices = next(n for n in range(len(devices), 0, -1) if batch_size % n == 0)
    mesh = Mesh(np.array(devices[:n_devices]), ("slice",))
    return NamedSharding(mesh, PartitionSpec("slice")), NamedSharding(mesh, PartitionSpec())
