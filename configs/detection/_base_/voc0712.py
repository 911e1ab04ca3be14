# PASCAL VOC trainval07+12 -> test07 in iterations: short side 480 to 800 in steps of 32, tested at 800.
_base_ = ["mmdet::_base_/datasets/voc0712.py"]

train_pipeline = [
    dict(type="LoadImageFromFile", backend_args={{_base_.backend_args}}),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomChoiceResize", scales=[(1333, side) for side in range(480, 801, 32)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args={{_base_.backend_args}}),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),  # after Resize: evaluation wants boxes of the original size
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]

# Unlike mmdet's base, which leaves boxes under 32 pixels out, all sizes are learnt, as in Detectron2. Objects marked
# difficult are neither learnt nor unlearnt, which is mmdet's rule; Detectron2 learns them, too.
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        # VOCDataset writes 2007 or 2012 here, and ConcatDataset wants meta data to be equal.
        ignore_keys=["dataset_type"],
        datasets=[
            dict(
                type="VOCDataset",
                data_root={{_base_.data_root}},
                ann_file=f"VOC{year}/ImageSets/Main/trainval.txt",
                data_prefix=dict(sub_data_root=f"VOC{year}/"),
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline=train_pipeline,
            )
            for year in (2007, 2012)
        ],
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# AP is `mAP`, the mean over the ten thresholds, beside AP50 and AP75. At each threshold it is VOC2007's own measure, as
# in Detectron2's evaluation for VOC: precision at 11 levels of recall, boxes that include their last pixel, and
# objects marked difficult neither found nor missed.
iou_thrs = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
val_evaluator = dict(type="VOCMetric", metric="mAP", iou_thrs=iou_thrs, eval_mode="11points")
test_evaluator = val_evaluator
