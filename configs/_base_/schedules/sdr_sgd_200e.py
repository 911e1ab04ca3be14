# Algorithm 1: one network a step, phases of equal length, statistics of every sub-network at the end.
_base_ = ["./simsiam_sgd_200e.py"]

rarity_power = 0.0  # longer steps for rarely drawn groups, see SubnetOptimWrapper; 0: one rate, as in the paper
optim_wrapper = dict(type="mmssl_dynamic.SubnetOptimWrapper", rarity_power=rarity_power)
phase_lengths = None  # shares of the steps that the phases have, such as [1, 1, 2]; None: equal ones, our reading
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths=phase_lengths),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
