_base_ = ["mmpretrain::_base_/default_runtime.py"]

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=3),
)
randomness = dict(seed=0)
