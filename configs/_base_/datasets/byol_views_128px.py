# The two views of BYOL at 128 px.
image_size = 128
common_pipeline = [
    dict(type="mmssl_dynamic.RandomResizedCrop", size=image_size, scale=(0.08, 1.0), interpolation="bicubic"),
    dict(type="mmssl_dynamic.ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, prob=0.8),
    dict(type="mmssl_dynamic.RandomGrayscale", prob=0.2),
    dict(type="RandomFlip", prob=0.5),
]
blur = dict(type="mmssl_dynamic.GaussianBlur", sigma=(0.1, 2.0))
view_pipeline_1 = [*common_pipeline, dict(blur, prob=1.0)]
view_pipeline_2 = [*common_pipeline, dict(blur, prob=0.1), dict(type="Solarize", thr=128, prob=0.2)]
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="mmssl_dynamic.MultiView", num_views=[1, 1], transforms=[view_pipeline_1, view_pipeline_2]),
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
