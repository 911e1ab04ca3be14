# DSPNet on Tiny-ImageNet (64 px), five MobileNetV3s, one device.
#
#   python tools/train.py configs/dspnet/dspnet_mobilenet-v3_tinyin.py
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/tiny-imagenet-200/train"
student_bn = "BN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)

model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(hid_channels=2048, norm_cfg=head_norm_cfg),
    head=dict(predictor=dict(hid_channels=2048, norm_cfg=head_norm_cfg)),
)
train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    num_workers=4,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
# SGD: LARS is for batches of thousands.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=256)
