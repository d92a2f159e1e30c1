"""Pictures of runs and of music, as PNG and SVG; matplotlib is imported when one is drawn."""
