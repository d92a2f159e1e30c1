"""Classical classifiers of feature rows as nodes of a genre tree; fitted when they are wanted, never saved."""
