_base_ = ["mmpretrain::_base_/default_runtime.py"]

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=3),
)
# nccl where there are GPUs, gloo otherwise
env_cfg = dict(dist_cfg=dict(backend="cpu:gloo,cuda:nccl"))
randomness = dict(seed=0)
