# Algorithm 1: one network a step, phases of equal length, statistics of every sub-network at the end.
_base_ = ["./simsiam_sgd_200e.py"]

optim_wrapper = dict(type="mmssl_dynamic.SubnetOptimWrapper")
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
