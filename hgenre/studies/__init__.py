"""Studies: experiments over configurations, folds and groupings."""
