# Images of your own with boxes and masks in COCO's form, whatever their classes. `classes` is the one option that names
# the classes; the heads, all data sets and the evaluation follow. BatchNorm keeps the statistics of the pre-training, as
# few images a step want it.
_base_ = ["./mask-rcnn_fpn_180k_coco.py"]

data_root = "data/my_masks/"
classes = ("cat", "dog")
train_annotations = "annotations/train.json"
train_images = "train/"
val_annotations = "annotations/val.json"
val_images = "val/"
max_iters = 6000

norm_cfg = dict(type="BN", requires_grad=False)
model = dict(
    backbone=dict(norm_cfg=norm_cfg, norm_eval=True),
    neck=dict(norm_cfg=None),
    roi_head=dict(bbox_head=dict(num_classes=len(classes)), mask_head=dict(num_classes=len(classes))),
)
metainfo = dict(classes=classes)
train_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file=train_annotations, data_prefix=dict(img=train_images), metainfo=metainfo)
)
val_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file=val_annotations, data_prefix=dict(img=val_images), metainfo=metainfo)
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_annotations)
test_evaluator = val_evaluator

# The steps of the papers' schedules; the rate follows the number of images a step.
train_cfg = dict(max_iters=max_iters, val_interval=max(1, max_iters // 6))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=min(100, max_iters)),
    dict(
        type="MultiStepLR",
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[2 * max_iters // 3, 8 * max_iters // 9],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(enable=True)
