"""The genre tree as pure functions: spec, posterior, routing, vote, calibration, drawing."""
