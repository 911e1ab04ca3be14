import pytest
import torch
from safetensors.torch import save_file

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fileio import load_state_dict, read_json, weights_fingerprint
from mmssl_dynamic.writing import write_json


def test_json_round_trips_and_broken_files_are_named(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 2]})
    assert read_json(tmp_path / "a.json", "settings") == {"x": [1, 2]}
    (tmp_path / "b.json").write_text("{")
    for name, message in [("b.json", "cannot be read as JSON"), ("c.json", "does not exist")]:
        with pytest.raises(ArtifactError, match=f"settings .*{name} {message}"):
            read_json(tmp_path / name, "settings")


def test_state_dicts_of_every_kind_load_alike(tmp_path):
    state = {"a": torch.randn(3), "b": torch.arange(2)}
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "run.pth")
    save_file(state, tmp_path / "safe.safetensors")
    for name in ("plain.pth", "run.pth", "safe.safetensors"):
        loaded = load_state_dict(tmp_path / name)
        assert set(loaded) == set(state)
        assert all(torch.equal(loaded[k], v) for k, v in state.items())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_checkpoints_are_refused_in_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="broken") as error:
        load_state_dict(path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_weights_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ArtifactError, match="holds no weights"):
        load_state_dict(tmp_path / "empty.pth")
    with pytest.raises(ArtifactError, match="does not exist"):
        load_state_dict(tmp_path / "missing.pth")
    with pytest.raises(ArtifactError, match="is an address"):
        load_state_dict("https://example.org/weights.pth")


def test_the_fingerprint_follows_weights_and_nothing_else():
    state = {"w": torch.randn(4, 3, 3, 3), "n": torch.tensor(3.0), "bn.running_mean": torch.zeros(4)}
    same = {"bn.running_mean": torch.ones(4), "n": state["n"].clone(), "w": state["w"].contiguous().clone()}
    other = {**state, "w": state["w"] + 1e-6}
    renamed = {**state}
    renamed["v"] = renamed.pop("w")
    assert weights_fingerprint(state) == weights_fingerprint(same)
    assert len({weights_fingerprint(s) for s in (state, other, renamed)}) == 3
    half = {"w": state["w"].bfloat16(), "n": state["n"]}
    assert len(weights_fingerprint(half)) == 64
