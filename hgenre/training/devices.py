"""How many XLA devices the host's processor is split into for training."""

import os

MOST_CPU_DEVICES = 8
"""Beyond this a batch of 64 leaves each device too few slices to be worth the exchange of gradients."""


def spread_over_cpus() -> None:
    """Makes one XLA device of each core, so that a batch is spread over them; call before anything else uses jax.

    XLA runs the gradient of a convolution on one core a device. Without effect where an accelerator is the default.
    """
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_devices = 1 << (min(cores, MOST_CPU_DEVICES).bit_length() - 1)
    try:
        jax.config.update("jax_num_cpu_devices", n_devices)
    except RuntimeError:
        return  # jax has started already, with the devices it has
