# The study of a frozen teacher on a mixed pool: five widths of a narrow ResNet-18 distilled at once, 48 px, from a small
# network that learnt from ImageNet.
#
#   python tools/train.py configs/dspnet/small_scale/slimmable-distillation_r18-narrow_frozen-teacher_domains.py \
#       --cfg-options teacher_checkpoint=data/efficientnet-lite0.safetensors
#
# Time and memory: ten minutes on one core; memory not measured. Result: docs/studies/teacher.md.
_base_ = ["./slimmable-simsiam_r18-narrow_domains.py", "../../_base_/models/frozen_teacher.py"]

data_root = "data/domains/pool"
max_epochs = 20
num_networks = 3
num_views = 1
teacher_model = "timm/tf_efficientnet_lite0"
teacher_checkpoint = "data/efficientnet-lite0.safetensors"
teacher_size = 96
distillation_head = "shared"  # or "per_network"
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones
train_pipeline = _base_.train_pipeline
train_pipeline[1]["num_views"] = num_views

model = dict(
    _delete_=True,
    type="mmssl_dynamic.SlimmableDistillation",
    init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=init_from),
    data_preprocessor={{_base_.data_preprocessor}},
    backbone=dict(
        type="mmssl_dynamic.SlimmableResNet",
        channels=(0.125, 0.1875, 0.25, 0.3125, 0.375),
        blocks=((2, 2, 2, 2),),
        zero_init_residual=False,
        norm_cfg={{_base_.norm_cfg}},
    ),
    teacher=dict(
        type="mmssl_dynamic.FrozenTeacher",
        model=teacher_model,
        checkpoint=teacher_checkpoint,
        image_size=teacher_size,
    ),
    distillation=dict(
        type="mmssl_dynamic.FeatureDistillation",
        head=distillation_head,
        hid_channels=512,
        norm_cfg={{_base_.head_norm_cfg}},
    ),
)
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root, pipeline=train_pipeline)))
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(progress=dict(label="Slimmable distillation"))
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=0),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200),
]
