"""Both demonstrations, on photographs that come with scikit-image."""
