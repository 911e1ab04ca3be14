"""Self-supervised algorithms over super-networks."""

from mmssl_dynamic.models.selfsup.sdr import SDR, batch_subnet, collapse_std

__all__ = ["SDR", "batch_subnet", "collapse_std"]
