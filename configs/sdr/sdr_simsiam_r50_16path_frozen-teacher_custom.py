# SDR with 16 paths on a folder of your own images, taught by a frozen network in place of W_0.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r50_16path_frozen-teacher_custom.py --cfg-options data_root=data/my_images
#
# Time and memory: not measured. Result: not measured.
_base_ = ["./sdr_simsiam_r50_16path_custom.py", "../_base_/models/frozen_teacher.py"]

distillation_view = "same"  # the teacher's features of the view itself, or of the "other", as in SiamKD

model = dict(
    teacher={{_base_.teacher}},
    distillation=dict(
        _delete_=True,
        type="mmssl_dynamic.FeatureDistillation",
        view=distillation_view,
        norm_cfg=dict(type="SyncBN"),
    ),
)
