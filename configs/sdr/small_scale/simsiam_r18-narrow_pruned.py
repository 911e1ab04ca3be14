# The lottery ticket at small scale: the wide SimSiam pruned to the size of a sub-network, fine-tuned at a tenth of the
# rate; see ../ablations/simsiam_r50_wide_pruned.py.
_base_ = ["./simsiam_r18-narrow_wide.py"]

load_from = "work_dirs/simsiam_r18-narrow_wide/pruned.pth"
optim_wrapper = dict(optimizer=dict(lr=0.003))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.KeepPrunedHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=500, batch_size=100, bn=("path", "prefix")),
]
