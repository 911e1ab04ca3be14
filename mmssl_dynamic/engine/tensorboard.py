"""A training that writes its scalars for TensorBoard."""

from __future__ import annotations

from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError

BACKEND = {"type": "TensorboardVisBackend"}


def need_tensorboard() -> None:
    """Refuse to go on without TensorBoard.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401  it checks the version, too
    except ImportError as error:
        raise ConfigError(
            "scalars in TensorBoard need the package tensorboard; run `pip install 'mmssl-dynamic[tensorboard]'`."
        ) from error


def add_tensorboard(config: Config) -> None:
    """Let a training write its scalars for TensorBoard, beside what it writes anyway.

    Args:
        config: Of mmengine's Runner; its visualizer gets one more backend.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    need_tensorboard()
    visualizer = dict(config.get("visualizer") or {"type": "Visualizer"})
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    if not any(backend["type"] == BACKEND["type"] for backend in backends):
        backends.append(BACKEND)
    config.visualizer = {**visualizer, "vis_backends": backends}
