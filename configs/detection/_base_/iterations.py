# What the detection trainings share: the runtime, SGD, and schedules that count iterations. Batch 16: 8 GPUs x 2 images.
_base_ = ["mmdet::_base_/default_runtime.py"]

# Resumes on torch >= 2.6, executes nothing out of a checkpoint, and explains wrong configs in one sentence.
runner_type = "mmssl_dynamic.Runner"

# Norm layers do not decay (Detectron2's WEIGHT_DECAY_NORM = 0, in the schedules of both papers); biases do.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2000, max_keep_ckpts=3)
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
