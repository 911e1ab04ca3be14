"""The model index names every config, and nothing that is not there."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
INDEX = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
ENTRIES = [
    (Path(metafile).parent, entry)
    for metafile in INDEX
    for entry in yaml.safe_load((ROOT / metafile).read_text())["Models"]
]


def test_every_config_is_named_in_the_metafile_above_it():
    """_base_ holds parts of configs, and the demos are not for training a model."""
    files = (path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.py"))
    configs = {path.as_posix() for path in files if not {"_base_", "demo"} & set(path.parts)}
    named = [entry["Config"] for _, entry in ENTRIES]
    assert configs == set(named)
    assert len(named) == len(set(named))
    assert all(Path(entry["Config"]).is_relative_to(folder) for folder, entry in ENTRIES)


def test_models_belong_to_collections_of_the_index():
    collections = [
        collection for metafile in INDEX for collection in yaml.safe_load((ROOT / metafile).read_text())["Collections"]
    ]
    names = [collection["Name"] for collection in collections]
    assert {entry["In Collection"] for _, entry in ENTRIES} == set(names)
    assert len(names) == len(set(names))
    assert all(collection["Paper"] for collection in collections)


def test_results_stand_there_when_they_are_measured_and_epochs_are_those_of_the_name():
    for _, entry in ENTRIES:
        assert "Results" in entry
        assert entry["Results"] is None or entry["Results"][0]["Metrics"]
        epochs = re.search(r"-(\d+)e(?:_|$)", entry["Name"])
        assert epochs is None or entry["Metadata"]["Epochs"] == int(epochs[1])
