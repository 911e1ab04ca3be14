# The study of the sandwich rule's relatives: dspnet_r18-narrow_domains.py with three heads in place of one (POA), whose
# projections have half, once and twice its dimensions. Their losses are averaged.
#
#   python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_heads_domains.py
#
# Time and memory: ten minutes on one core for 10 epochs of the study; memory not measured. Result: see
# docs/studies/sandwich.md.
_base_ = ["dspnet_r18-narrow_domains.py"]

head_sizes = [64, 128, 256]
student_bn = "mmssl_dynamic.SyncBN"
head = dict(hid_channels=512, norm_cfg=dict(type="BN1d" if student_bn == "BN" else student_bn))
predictor = dict(head, type="NonLinearNeck", num_layers=2, with_bias=True, with_last_bn=False, with_avg_pool=False)
model = dict(
    backbone=dict(norm_cfg=dict(type=student_bn)),
    neck=dict(
        _delete_=True,
        type="mmssl_dynamic.SeveralProjectors",
        projectors=[
            dict(head, num_layers=2, with_bias=True, with_last_bn=False, out_channels=size) for size in head_sizes
        ],
    ),
    head=dict(
        loss=dict(_delete_=True, type="mmssl_dynamic.CosineOfHeads", sizes=head_sizes, shift_factor=1.0),
        predictor=dict(
            _delete_=True,
            type="mmssl_dynamic.SeveralPredictors",
            predictors=[dict(predictor, in_channels=size, out_channels=size) for size in head_sizes],
        ),
    ),
)
