"""Pictures of what was learned: cluster montages, histograms, curves."""
