"""Blocks to paste: imports stand above, and a config reads like one."""

from mmssl_dynamic.export.snippets import config_text, with_imports


def test_only_what_is_named_is_imported_and_imports_go_to_the_top():
    lines = ["net = timm.create_model('a')", "import functools", "x = safetensors.torch.load_file('b')"]
    assert with_imports(lines).splitlines() == [
        "import safetensors.torch",
        "import timm",
        "import functools",
        "",
        "net = timm.create_model('a')",
        "x = safetensors.torch.load_file('b')",
    ]


def test_a_config_keeps_short_parts_on_one_line_and_can_be_executed():
    value = {
        "backbone": {"depth": 50, "type": "ResNet", "init_cfg": {"checkpoint": "x" * 80}, "_delete_": True},
        "neck": {"in_channels": [1, 2], "type": "FPN"},
        "odd": {"a b": (1, None)},
    }
    text = config_text("model", value)
    assert text.splitlines() == [
        "model = dict(",
        "    backbone=dict(",
        "        _delete_=True,",
        "        type='ResNet',",
        "        depth=50,",
        "        init_cfg=dict(",
        f"            checkpoint='{'x' * 80}',",
        "        ),",
        "    ),",
        "    neck=dict(type='FPN', in_channels=[1, 2]),",
        "    odd={'a b': (1, None)},",
        ")",
    ]
    scope = {}
    exec(text, scope)
    assert scope["model"] == value
