# The same at 64 px, where blurring would leave little: no blur, as is usual for small images.
image_size = 64
view_pipeline = [
    dict(type="mmssl_dynamic.RandomResizedCrop", size=image_size, scale=(0.2, 1.0)),
    dict(type="mmssl_dynamic.ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
    dict(type="mmssl_dynamic.RandomGrayscale", prob=0.2),
    dict(type="RandomFlip", prob=0.5),
]
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="mmssl_dynamic.MultiView", num_views=2, transforms=[view_pipeline]),
    dict(type="PackInputs"),
]
eval_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="ResizeEdge", scale=image_size, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=image_size),
    dict(type="PackInputs"),
]
