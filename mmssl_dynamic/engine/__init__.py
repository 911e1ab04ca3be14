"""Training: runner, hooks and optimiser wrappers."""

from mmssl_dynamic.engine.hooks import BNBankHook, CollapseMonitorHook, FixedPredictorLrHook, ProgressivePhaseHook
from mmssl_dynamic.engine.runner import Runner
from mmssl_dynamic.engine.subnet_optim_wrapper import SubnetAmpOptimWrapper, SubnetOptimWrapper

__all__ = [
    "BNBankHook",
    "CollapseMonitorHook",
    "FixedPredictorLrHook",
    "ProgressivePhaseHook",
    "Runner",
    "SubnetAmpOptimWrapper",
    "SubnetOptimWrapper",
]
