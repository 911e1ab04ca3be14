# The other protocol of SDR's Table 2 (ssl_transfer): BatchNorm keeps the statistics and scales of the pre-training, the
# FPN has no norm layers, 18k iterations. All convolutions are tuned.
_base_ = ["./faster-rcnn_r50_fpn_24k_voc0712.py"]

norm_cfg = dict(type="BN", requires_grad=False)
model = dict(backbone=dict(norm_cfg=norm_cfg, norm_eval=True), neck=dict(norm_cfg=None))

train_cfg = dict(max_iters=18000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=18000, milestones=[12000, 16000], gamma=0.1),
]
