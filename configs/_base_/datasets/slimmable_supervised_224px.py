# timm's augmentations for MobileNetV3, --aa rand-m9-mstd0.5 --reprob 0.2 --remode pixel; validation of every network.
image_size = 224
# timm's operations without "inc1", which mmpretrain has no name for. Some change an image less at a higher level:
# Posterize and Solarize; and Color to Sharpness are factors from 0.1 to 1.9 (here 1 + magnitude), not distances from 1.
randaugment_policies = [
    dict(type="AutoContrast"),
    dict(type="Equalize"),
    dict(type="Invert"),
    dict(type="Rotate", magnitude_range=(0, 30)),
    # mmpretrain rounds the number of bits up where timm rounds it down.
    dict(type="Posterize", magnitude_range=(-1 + 1e-6, 3 + 1e-6)),
    dict(type="Solarize", magnitude_range=(0, 256)),
    dict(type="SolarizeAdd", magnitude_range=(0, 110)),
    dict(type="ColorTransform", magnitude_range=(-0.9, 0.9), random_negative_prob=0),
    dict(type="Contrast", magnitude_range=(-0.9, 0.9), random_negative_prob=0),
    dict(type="Brightness", magnitude_range=(-0.9, 0.9), random_negative_prob=0),
    dict(type="Sharpness", magnitude_range=(-0.9, 0.9), random_negative_prob=0),
    dict(type="Shear", magnitude_range=(0, 0.3), direction="horizontal"),
    dict(type="Shear", magnitude_range=(0, 0.3), direction="vertical"),
    dict(type="Translate", magnitude_range=(0, 0.45), direction="horizontal"),
    dict(type="Translate", magnitude_range=(0, 0.45), direction="vertical"),
]
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="RandomResizedCrop", scale=image_size, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies=randaugment_policies,
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
