"""The compiled path: one XLA program from slices to song sums, and its copies in the user's cache."""
