import functools

import pytest

from mmssl_dynamic.options.constructors import Parameters, mentions, parameters_of


def check(options):
    return options


class Base:
    def __init__(self, depth, norm_cfg=None):
        pass


class Handing(Base):
    def __init__(self, width, *, out=0, **kwargs):
        kwargs = {"norm_cfg": None, **kwargs}
        kwargs["extra"] = kwargs.pop("popped", 1)
        check(kwargs)
        super().__init__(**kwargs)


class Silent(Handing):
    pass


class Open(Base):
    def __init__(self, name, **kwargs):
        self.inner = Base(**kwargs)
        super().__init__(1)


class Building:
    def __init__(self, name, **kwargs):
        self.inner = check(kwargs)


class Wrapper:
    def __init__(self, wrapped, **kwargs):
        self.inner = wrapped(**kwargs)


def collate(batch, pad=0):
    return batch, "a_literal", pad


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Base, Parameters({"depth", "norm_cfg"}, False)),
        (Handing, Parameters({"depth", "norm_cfg", "width", "out", "popped", "extra"}, False)),
        (Silent, Parameters({"depth", "norm_cfg", "width", "out", "popped", "extra"}, False)),
        (Open, Parameters({"depth", "norm_cfg", "name"}, True)),
        (Building, Parameters({"name"}, True)),
        (functools.partial(Wrapper, wrapped=Base), Parameters({"depth", "norm_cfg"}, True)),
        (collate, Parameters({"batch", "pad"}, False)),
        ("no_such_name", None),
    ],
)
def test_the_arguments_of_what_a_type_names(kind, expected):
    assert parameters_of(kind, "mmengine") == expected


@pytest.mark.parametrize(
    ("kind", "scope", "names", "open_"),
    [
        ("mmssl_dynamic.SDRResNet", "mmpretrain", {"stage_channels", "depth", "out_indices", "init_cfg"}, False),
        ("ResNet", "mmpretrain", {"depth", "stem_channels", "init_cfg"}, False),
        ("ResNet", "mmdet", {"depth", "dcn", "pretrained"}, False),
        ("ImageNet", "mmpretrain", {"split", "data_root", "indices", "lazy_init", "extensions"}, False),
        ("CheckpointHook", "mmpretrain", {"max_keep_ckpts", "save_best"}, True),
        ("SGD", "mmpretrain", {"lr", "nesterov"}, False),
        ("torchvision/ColorJitter", "mmpretrain", {"hue"}, True),
        ("Pretrained", "mmpretrain", {"checkpoint", "prefix"}, False),
        ("torch.utils.data.DataLoader", "mmpretrain", {"persistent_workers", "pin_memory"}, False),
    ],
)
def test_types_are_found_as_a_config_names_them(kind, scope, names, open_):
    found = parameters_of(kind, scope)
    assert names <= found.names
    assert found.open == open_


def test_strings_in_the_source_of_a_class_and_its_bases_are_found():
    assert mentions(Silent, "mmengine", "a_literal")
    assert not mentions(Silent, "mmengine", "a_" + "literally")
    assert mentions("ResNet", "mmdet", "fallback_on_stride")  # its blocks take it out of dcn=...
