"""The clusters file, :class:`mmssl_dynamic.clusters.Clusters`, where scripts that cluster look for it."""

from mmssl_dynamic.clusters import Clusters

__all__ = ["Clusters"]
