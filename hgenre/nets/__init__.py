"""Flax modules behind a pair of pure functions; the only room that imports flax."""
