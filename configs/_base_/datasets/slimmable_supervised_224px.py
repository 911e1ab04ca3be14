# timm's augmentations for MobileNetV3: RandAugment m9-mstd0.5 and random erasing; validation of every network.
image_size = 224
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="RandomResizedCrop", scale=image_size, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.2,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395],
    ),
    dict(type="PackInputs"),
]
eval_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(
        type="ResizeEdge", scale=round(image_size * 256 / 224), edge="short", backend="pillow", interpolation="bicubic"
    ),
    dict(type="CenterCrop", crop_size=image_size),
    dict(type="PackInputs"),
]
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = dict(type="mmssl_dynamic.SubnetAccuracy", topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
