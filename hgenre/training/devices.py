"""How training uses the host's processor."""

import os

from hgenre.compiled.memory import keep_freed_memory

MOST_CPU_DEVICES = 8
"""Beyond this a batch of 64 leaves each device too few slices to be worth the exchange of gradients."""


def use_all_cpus() -> None:
    """Splits the host into XLA devices, so that a batch is spread over its cores, and keeps the memory they free.

    A power of two devices, a core each, at most ``MOST_CPU_DEVICES``: XLA runs a convolution on one core a device. Call
    before anything else uses jax. Where an accelerator is the default, training runs there all the same.
    """
    import jax

    keep_freed_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_devices = 1 << (min(cores, MOST_CPU_DEVICES).bit_length() - 1)
    try:
        jax.config.update("jax_num_cpu_devices", n_devices)
    except RuntimeError:
        return  # jax has started already, with the devices it has
