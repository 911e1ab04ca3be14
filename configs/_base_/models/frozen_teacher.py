# A network of timm that teaches and stays as it is.
teacher_model = "timm/resnet50.a1_in1k"  # or the file of an export; a config of any network where teacher= is a dict
teacher_checkpoint = None  # file with its weights; None: timm's own, or those of the export
teacher_size = None  # pixels that views are resized to for it; None: as they come

teacher = dict(
    type="mmssl_dynamic.FrozenTeacher",
    model=teacher_model,
    checkpoint=teacher_checkpoint,
    image_size=teacher_size,
)
