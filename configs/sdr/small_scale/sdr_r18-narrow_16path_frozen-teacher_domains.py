# The study of a frozen teacher on a mixed pool: SDR's 16 paths, taught by a small network that learnt from ImageNet in W_0's
# place.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_frozen-teacher_domains.py \
#       --cfg-options teacher_checkpoint=data/efficientnet-lite0.safetensors
#
# Time and memory: five minutes on one core for the 5 epochs of the study; memory not measured. Result: see
# docs/studies/teacher.md.
_base_ = ["./sdr_r18-narrow_16path_domains.py"]

teacher_model = "timm/tf_efficientnet_lite0"
teacher_checkpoint = "data/efficientnet-lite0.safetensors"
teacher_size = 96

model = dict(
    teacher=dict(
        type="mmssl_dynamic.FrozenTeacher",
        model=teacher_model,
        checkpoint=teacher_checkpoint,
        image_size=teacher_size,
    ),
    distillation=dict(_delete_=True, type="mmssl_dynamic.FeatureDistillation", hid_channels=512),
)
