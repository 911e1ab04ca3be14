# All paths from the first step on, without progressive phases.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_256path_no-phases.py 8
#
# Time, memory and result are not measured.
_base_ = ["../sdr_simsiam_r50_256path.py"]

custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", progressive=False),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
