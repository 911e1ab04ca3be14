import json
import pickle
import zipfile

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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b'{"top1": NaN}', "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"\xff\xfe{\x00}\x00", "cannot be read as JSON"),
        (b" " * 2**20 + b"1", "more than 1 MiB"),
    ],
)
def test_absurd_json_is_refused_in_one_sentence(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"settings .*a.json .*{message}") as error:
        read_json(tmp_path / "a.json", "settings", most_bytes=2**20)
    assert "\n" not in str(error.value)


def test_json_with_the_mark_of_windows_editors_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert read_json(tmp_path / "a.json", "settings") == {"a": 1}


def test_state_dicts_of_every_kind_load_alike(tmp_path):
    state = {"a": torch.randn(3), "b": torch.arange(2)}
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "run.pth")
    save_file(state, tmp_path / "safe.safetensors")
    for name in ("plain.pth", "run.pth", "safe.safetensors"):
        loaded = load_state_dict(tmp_path / name)
        assert set(loaded) == set(state)
        assert all(torch.equal(loaded[k], v) for k, v in state.items())


def safetensors(header, size=0):
    """A file of the format with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def tensor(start, end, shape=(1,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}


BROKEN = {
    "empty": b"",
    "text": b"not a checkpoint",
    "zip": b"PK\x03\x04broken",
    "letters": b"hello world\n",
    "huge header": (2**62).to_bytes(8, "little") + b"{}",
    "overlapping": safetensors({"a": tensor(0, 4), "b": tensor(0, 4)}, 4),
    "gap": safetensors({"a": tensor(4, 8)}, 8),
    "beyond the end": safetensors({"a": tensor(0, 2**40, (2**38,))}, 4),
    "overflow": safetensors({"a": tensor(0, 4, (2**40, 2**40))}, 4),
    "unknown type": safetensors({"a": {**tensor(0, 4), "dtype": "X9"}}, 4),
    "deep": safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "not a record": safetensors([1, 2]),
    "numbers": pickle.dumps([1, 2, 3]),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_checkpoints_are_refused_in_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="broken") as error:
        load_state_dict(path)
    assert "\n" not in str(error.value)


class Program:
    """Leaves a trace when it is run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("kind", ["pickle", "zip", "old"])
def test_a_refused_pickle_is_named_and_no_way_around_is_advertised(tmp_path, kind):
    path, program = tmp_path / "evil.pth", Program(tmp_path / "trace")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(program))
    else:
        state = {"state_dict": {"a": torch.zeros(2)}, "x": program}
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ArtifactError, match=r"it holds the object \w*io\w*\.open, which is neither") as error:
        load_state_dict(path)
    message = str(error.value)
    assert "\n" not in message
    assert not any(word in message for word in ("weights_only", "torch.load", "succeed", "allowlist", "safe_globals"))
    assert not (tmp_path / "trace").exists()


def test_a_packed_checkpoint_is_refused_unread(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ArtifactError, match=r"packed\.pth is damaged \(entry .* is compressed"):
        load_state_dict(tmp_path / "packed.pth")


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
