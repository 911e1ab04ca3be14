# Images of your own with boxes in VOC's form, whatever their classes: JPEGImages/, Annotations/*.xml, and in
# ImageSets/Main the lists train.txt and val.txt of names without an ending. `classes` is the one option that names the
# classes; the head, all data sets and the evaluation follow. BatchNorm keeps the statistics of the pre-training, as few
# images a step want it.
_base_ = ["./faster-rcnn_r50_fpn_18k_voc0712.py"]

data_root = "data/my_boxes/"
classes = ("cat", "dog")
train_list = "ImageSets/Main/train.txt"
val_list = "ImageSets/Main/val.txt"
max_iters = 6000

model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))
images = dict(
    type="VOCDataset", data_root=data_root, data_prefix=dict(sub_data_root=""), metainfo=dict(classes=classes)
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **images,
        ann_file=train_list,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline={{_base_.train_pipeline}},
    )
)
val_dataloader = dict(
    dataset=dict(_delete_=True, **images, ann_file=val_list, test_mode=True, pipeline={{_base_.test_pipeline}})
)
test_dataloader = val_dataloader

# Tenths of the training of VOC, and its steps; the rate follows the number of images a step.
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
