"""``--cfg-options``: what was typed, what it means for a config, and whether the config knows it at all.

mmengine merges options into a config that has been evaluated. Here the config file is evaluated with them, so that
values which are computed from others follow; names that nothing knows are refused; and what replaces a string stays as
it was typed. Nothing in here imports torch before an option names something that the config does not spell.
"""
