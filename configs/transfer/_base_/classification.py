# Classifying images with a pre-trained backbone: data, model and evaluation that all transfer protocols share.
_base_ = ["../../_base_/default_runtime.py"]

# ImageNet with a stock ResNet-50. tools/evaluate.py puts each network, its checkpoint and the task's images here;
# for a backbone of tools/export.py by hand, put the 'usage' of its sidecar into model.backbone and train with
# tools/train.py or tools/dist_train.sh.
data_root = "data/imagenet/"
image_size = 224
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="RandomResizedCrop", scale=image_size, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(
        type="ResizeEdge", scale=round(image_size * 256 / 224), edge="short", backend="pillow", interpolation="bicubic"
    ),
    dict(type="CenterCrop", crop_size=image_size),
    dict(type="PackInputs"),
]

model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        type="ClsDataPreprocessor",
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="BN"),
        frozen_stages=4,  # all of it: neither weights nor statistics move
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/backbone.pth", prefix="backbone."),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=1000, in_channels=2048, loss=dict(type="CrossEntropyLoss")),
)

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="mmssl_dynamic.ResumableBatchSampler"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="ImageNet", data_root=data_root, split="val", pipeline=test_pipeline),
)
val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# Two checkpoints, so that one is whole at any moment.
default_hooks = dict(checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2))
