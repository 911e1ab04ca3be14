# The larger study of a mixed pool: SimSiam, batches of 256, and the views' colours on the card.
#
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains_large.py
#
# Time and memory: not measured. Result: not measured yet.
_base_ = ["./simsiam_r18-narrow_domains.py"]

image_size = 48
max_epochs = 30
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(
        type="mmssl_dynamic.MultiView",
        num_views=2,
        transforms=[[dict(type="mmssl_dynamic.RandomResizedCrop", size=image_size, scale=(0.2, 1.0))]],
    ),
    dict(type="mmssl_dynamic.DrawAugmentations", views=[dict(blur=0.0), dict(blur=0.0)]),
    dict(type="PackInputs", meta_keys=("sample_idx", "img_path", "draws")),
]

model = dict(data_preprocessor=dict(type="mmssl_dynamic.AugmentingPreprocessor"))
train_dataloader = dict(
    batch_size=256,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(dataset=dict(pipeline=train_pipeline)),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=schedule_epochs, by_epoch=True, begin=0, end=schedule_epochs)]
train_cfg = dict(max_epochs=max_epochs)
# The root of the ratio of the batch sizes times that of the smaller study.
optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
