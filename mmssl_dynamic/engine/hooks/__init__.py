"""Hooks of the training run."""

from mmssl_dynamic.engine.hooks.bn_bank_hook import BNBankHook
from mmssl_dynamic.engine.hooks.calibrate_bn_hook import CalibrateBNHook
from mmssl_dynamic.engine.hooks.checkpoint_hook import CheckpointHook
from mmssl_dynamic.engine.hooks.collapse_monitor_hook import CollapseMonitorHook
from mmssl_dynamic.engine.hooks.direction_hook import DirectionHook
from mmssl_dynamic.engine.hooks.finite_loss_hook import FiniteLossHook
from mmssl_dynamic.engine.hooks.fixed_predictor_lr_hook import FixedPredictorLrHook
from mmssl_dynamic.engine.hooks.group_regularization_hook import GroupRegularizationHook
from mmssl_dynamic.engine.hooks.keep_pruned_hook import KeepPrunedHook
from mmssl_dynamic.engine.hooks.progress_hook import ProgressHook
from mmssl_dynamic.engine.hooks.progressive_phase_hook import ProgressivePhaseHook
from mmssl_dynamic.engine.hooks.resume_check_hook import ResumeCheckHook
from mmssl_dynamic.engine.hooks.resume_sampler_hook import ResumeSamplerHook
from mmssl_dynamic.engine.hooks.sandwich_hook import SandwichHook
from mmssl_dynamic.engine.hooks.target_ema_hook import TargetEMAHook

__all__ = [
    "BNBankHook",
    "CalibrateBNHook",
    "CheckpointHook",
    "CollapseMonitorHook",
    "DirectionHook",
    "FiniteLossHook",
    "FixedPredictorLrHook",
    "GroupRegularizationHook",
    "KeepPrunedHook",
    "ProgressHook",
    "ProgressivePhaseHook",
    "ResumeCheckHook",
    "ResumeSamplerHook",
    "SandwichHook",
    "TargetEMAHook",
]
