# Five MobileNetV3s distilled at once from a frozen network on a folder of your own images, one GPU: no target network, one
# view an image.
#
#   python tools/train.py configs/dspnet/slimmable-distillation_mobilenet-v3_frozen-teacher_custom.py \
#       --cfg-options data_root=data/my_images
#
# Time and memory: not measured. Result: not measured; at a small size 9 points of kNN accuracy above
# networks alone in the same time, see docs/studies/teacher.md.
_base_ = [
    "../_base_/models/frozen_teacher.py",
    "../_base_/datasets/mocov2_views_224px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/simsiam_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/my_images"
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones
widths = (0.5, 0.75, 1.0, 1.25, 1.5)
distillation_head = "shared"  # or "per_network": a linear layer for each
num_networks = 4  # in every step: the largest, the smallest and others by chance
num_views = 1
student_bn = "SyncBN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="mmssl_dynamic.MultiView", num_views=num_views, transforms=[{{_base_.view_pipeline}}]),
    dict(type="PackInputs"),
]

model = dict(
    type="mmssl_dynamic.SlimmableDistillation",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    data_preprocessor=dict(
        type="SelfSupDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(type="mmssl_dynamic.SlimmableMobileNetV3", arch="large", widths=widths, norm_cfg=norm_cfg),
    teacher={{_base_.teacher}},
    distillation=dict(type="mmssl_dynamic.FeatureDistillation", head=distillation_head, norm_cfg=head_norm_cfg),
)
# Gradients are averaged once per step, and not once per network.
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline=train_pipeline),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
optim_wrapper = dict(optimizer=dict(lr=0.025), paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0))
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=0),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook"),
]
auto_scale_lr = dict(base_batch_size=128)
