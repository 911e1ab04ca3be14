# SDR Table 3, "SimSiam 22.6M", the lottery ticket: the wide SimSiam pruned to the size of a sub-network and fine-tuned.
#
#   C=configs/sdr/ablations/simsiam_r50_wide
#   python tools/train.py $C.py
#   python tools/prune.py $C.py work_dirs/simsiam_r50_wide/epoch_200.pth --like configs/sdr/sdr_simsiam_r50_256path.py \
#       --out work_dirs/simsiam_r50_wide
#   python tools/train.py ${C}_pruned.py
#
# How long and at which rate the paper fine-tunes is not known: a tenth of both is our reading.
_base_ = ["./simsiam_r50_wide.py"]

load_from = "work_dirs/simsiam_r50_wide/pruned.pth"
max_epochs = 20
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.KeepPrunedHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
