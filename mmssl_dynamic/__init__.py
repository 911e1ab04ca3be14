"""mmssl_dynamic: one self-supervised super-network that holds a backbone for every task and device."""

from mmssl_dynamic.version import __version__

__all__ = ["__version__"]
