"""Sub-networks as backbones of detectors; the one place that needs mmdet."""
