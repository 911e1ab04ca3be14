# The lottery ticket at small scale: the wide SimSiam pruned to the size of a sub-network, fine-tuned at a tenth of the
# rate; see ../ablations/simsiam_r50-wide-pruned_8xb64-coslr-20e_in1k.py.
#
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_wide.py
#   python tools/prune.py configs/sdr/small_scale/simsiam_r18-narrow_wide.py work_dirs/simsiam_r18-narrow_wide/epoch_10.pth \
#       --like configs/sdr/small_scale/sdr_r18-narrow_16path.py --out work_dirs/simsiam_r18-narrow_wide
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_pruned.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/sdr_small_scale.md.
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
