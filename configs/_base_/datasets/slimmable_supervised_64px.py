# Crops and flips at 64 px; validation of every network.
image_size = 64
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(
        type="RandomResizedCrop",
        scale=image_size,
        crop_ratio_range=(0.25, 1.0),
        backend="pillow",
        interpolation="bicubic",
    ),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
eval_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="ResizeEdge", scale=image_size, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=image_size),
    dict(type="PackInputs"),
]
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = dict(type="mmssl_dynamic.SubnetAccuracy", topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
