"""Speed and memory of hgenre as ratios to named baselines; ``scripts/bench`` runs it. Not installed with hgenre."""
