# MoCo-v2 augmentations, two views, and the pipeline of everything that evaluates.
image_size = 224
view_pipeline = [
    dict(type="mmssl_dynamic.RandomResizedCrop", size=image_size, scale=(0.2, 1.0)),
    dict(type="mmssl_dynamic.ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
    dict(type="mmssl_dynamic.RandomGrayscale", prob=0.2),
    dict(type="mmssl_dynamic.GaussianBlur", sigma=(0.1, 2.0), prob=0.5),
    dict(type="RandomFlip", prob=0.5),
]
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="mmssl_dynamic.MultiView", num_views=2, transforms=[view_pipeline]),
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
