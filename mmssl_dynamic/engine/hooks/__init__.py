"""Hooks of the training run."""

from mmssl_dynamic.engine.hooks.bn_bank_hook import BNBankHook
from mmssl_dynamic.engine.hooks.collapse_monitor_hook import CollapseMonitorHook
from mmssl_dynamic.engine.hooks.fixed_predictor_lr_hook import FixedPredictorLrHook
from mmssl_dynamic.engine.hooks.progress_bar_hook import ProgressBarHook
from mmssl_dynamic.engine.hooks.progressive_phase_hook import ProgressivePhaseHook

__all__ = ["BNBankHook", "CollapseMonitorHook", "FixedPredictorLrHook", "ProgressBarHook", "ProgressivePhaseHook"]
