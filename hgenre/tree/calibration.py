"""One temperature a node, so that a node's probabilities are as often right as they say."""

import numpy as np

TEMPERATURE_RANGE = (0.25, 8.0)


def fit_temperature(logits: np.ndarray, child_idx: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The temperature that minimises the mean negative log-likelihood of ``softmax(logits / temperature)``.

    The source is Guo et al. 2017, "On Calibration of Modern Neural Networks". The loss is convex in ``1 / T``, so a
    golden-section search over ``log T`` within TEMPERATURE_RANGE finds it.

    Args:
        logits: (slice, child).
        child_idx: (slice,) index of the true child.
        weights: (slice,) non-negative; a song's slices should together weigh 1. Uniform when None.

    Returns:
        1.0 when there is nothing to fit on.
    """
    if len(logits) == 0:
        return 1.0
    logits = logits.astype(np.float64)
    weights = np.full(len(logits), 1.0 / len(logits)) if weights is None else weights / weights.sum()
    rows = np.arange(len(logits))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        peak = scaled.max(axis=-1)
        log_z = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=-1))
        return float(weights @ (log_z - scaled[rows, child_idx]))

    low, high = np.log(TEMPERATURE_RANGE)
    golden = (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
