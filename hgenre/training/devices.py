"""How training uses the host's processor."""

import os

from hgenre.compiled.memory import keep_freed_memory

MOST_CPU_DEVICES = 8
"""Beyond this a batch of 64 leaves each device too few slices to be worth the exchange of gradients."""


def use_all_cpus() -> None:
    """Makes one XLA device of each core, so that a batch is spread over them; call before anything else uses jax.

    XLA runs a convolution on one core a device. Without effect where an accelerator is the default.
    """
    import jax

    keep_freed_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_devices = 1 << (min(cores, MOST_CPU_DEVICES).bit_length() - 1)
    try:
        jax.config.update("jax_num_cpu_devices", n_devices)
    except RuntimeError:
        return  # jax has started already, with the devices it has
