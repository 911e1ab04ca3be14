# DSPNet's MobileNetV3s on a folder of your own images, taught by a frozen network beside their moving target.
#
#   python tools/train.py configs/dspnet/dspnet_mobilenet-v3_frozen-teacher_custom.py --cfg-options data_root=data/my_images
#
# Time and memory: not measured. Result: not measured.
_base_ = ["./dspnet_mobilenet-v3_custom.py", "../_base_/models/frozen_teacher.py"]

distillation_weight = 1.0  # of the teacher's loss beside DSPNet's own

model = dict(
    teacher={{_base_.teacher}},
    distillation=dict(
        type="mmssl_dynamic.FeatureDistillation", weight=distillation_weight, norm_cfg={{_base_.head_norm_cfg}}
    ),
)
