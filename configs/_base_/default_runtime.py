_base_ = ["mmpretrain::_base_/default_runtime.py"]

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=3),
    progress=dict(type="mmssl_dynamic.ProgressHook", label="training"),  # a bar with the time left, or lines
    curves=dict(type="mmssl_dynamic.TrainingCurvesHook"),  # curves.png in the work dir, at the end
)
# The first process writes the BN bank alone while the others wait, longer than NCCL's ten minutes.
env_cfg = dict(dist_cfg=dict(timeout=14400))
randomness = dict(seed=0)
