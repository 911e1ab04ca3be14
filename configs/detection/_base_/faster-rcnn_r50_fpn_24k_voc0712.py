# Faster R-CNN on PASCAL VOC, our reading of SDR's Table 2, which mixes two protocols: FPN, all layers tuned, SyncBN, 24k
# iterations. What inherits from here adds the type and the weights of its backbone, and nothing else.
_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "./voc0712.py", "./iterations.py"]

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True, depth=50, out_indices=(0, 1, 2, 3), frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False
    ),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(num_classes=20)),
)

train_cfg = dict(type="mmssl_dynamic.IterLoop", max_iters=24000, val_interval=6000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=24000, milestones=[18000, 22000], gamma=0.1),
]
