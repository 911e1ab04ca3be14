"""What is kept comes back as it was, under its own key alone, and never from a file that was damaged."""

import json
import re

import pytest

from mmssl_dynamic import result_cache
from mmssl_dynamic.errors import ConfigError, LockedError
from mmssl_dynamic.result_cache import COMPUTATIONS, Computation, KeptFiles, Key, ResultCache, kept_line

RESULT = {"top1": 61.25, "names": ["a", "b"], "seconds": 0.1 + 0.2, "none": None}


def key(computation="evaluation", **changes):
    inputs = {name: f"{name} as it is" for name in COMPUTATIONS[computation].depends_on}
    return Key(computation, {**inputs, **changes})


def parse(record):
    return {**record, "top1": float(record["top1"])}


@pytest.fixture
def cache(tmp_path):
    return ResultCache(tmp_path, parse)


def test_a_result_comes_back_bit_by_bit_with_its_date(cache):
    assert cache.load(key(), "w0.5") is None
    cache.save(key(), "w0.5", RESULT)
    kept = ResultCache(cache.folder, parse).load(key(), "w0.5")
    assert kept.value == RESULT
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", kept.computed)
    line = kept_line("the result is", [kept], key())
    assert line.startswith(f"the result is kept from {kept.computed}, its inputs are unchanged: network, weights, ")
    assert "--again" in line
    assert "\n" not in line


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_every_input_and_the_version_make_another_key(computation, tmp_path, monkeypatch):
    cache = ResultCache(tmp_path, parse)
    cache.save(key(computation), "x", RESULT)
    for name in COMPUTATIONS[computation].depends_on:
        other = key(computation, **{name: "changed"})
        assert cache.load(other, "x") is None
        assert cache.changed(other, "x") == [name]
    version, depends_on = COMPUTATIONS[computation]
    monkeypatch.setitem(COMPUTATIONS, computation, Computation(version + 1, depends_on))
    assert cache.load(key(computation), "x") is None
    assert cache.changed(key(computation), "x") == ["computation"]


def test_results_of_several_keys_lie_beside_each_other(cache):
    other = key(weights="changed")
    cache.save(key(), "x", RESULT)
    cache.save(other, "x", {**RESULT, "top1": 1.0})
    assert cache.load(key(), "x").value["top1"] == 61.25
    assert cache.load(other, "x").value["top1"] == 1.0


def test_again_finds_nothing_and_takes_the_place_of_what_was_there(cache):
    cache.save(key(), "x", RESULT)
    again = ResultCache(cache.folder, parse, again=True)
    assert again.load(key(), "x") is None
    again.save(key(), "x", {**RESULT, "top1": 2.0})
    assert cache.load(key(), "x").value["top1"] == 2.0


def test_a_key_with_a_hole_is_refused():
    inputs = dict(key().inputs)
    for broken in ({**inputs, "weights": None}, {**inputs, "colour": "red"}, {k: inputs[k] for k in list(inputs)[1:]}):
        with pytest.raises(ValueError, match="a key of 'evaluation'"):
            Key("evaluation", broken)
    with pytest.raises(ConfigError, match="protocol holds a generator"):
        key(protocol=(i for i in range(2)))


def rewritten(change):
    def damage(text):
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: "\0" * len(text),
        rewritten(lambda data: data.pop("result")),
        rewritten(lambda data: data["result"].update(top1="62.25")),
        rewritten(lambda data: data["result"].update(top1=99.0)),
        rewritten(lambda data: data.update(schema_version=0)),
        rewritten(lambda data: data["inputs"].update(weights="of another checkpoint")),
        rewritten(lambda data: data.update(inputs=None)),
    ],
    ids=["cut", "empty", "list", "zeros", "lacking", "type", "edited", "schema", "inputs", "no inputs"],
)
def test_a_damaged_file_is_not_trusted_and_that_is_said(cache, damage):
    cache.save(key(), "x", RESULT)
    file = cache.file(key(), "x")
    file.write_text(damage(file.read_text()))
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged .*, so its result is computed anew"):
        assert cache.load(key(), "x") is None
    cache.save(key(), "x", RESULT)
    assert cache.load(key(), "x").value == RESULT


def test_a_record_that_parse_does_not_know_is_not_trusted(cache):
    cache.save(key(), "x", {"top1": "high"})
    with pytest.warns(UserWarning, match="is damaged"):
        assert cache.load(key(), "x") is None


def test_nothing_is_said_to_have_changed_where_nothing_was_kept(cache):
    assert cache.changed(key(), "x") == []
    cache.save(key(), "y", RESULT)
    assert cache.changed(key(), "x") == []
    assert result_cache.NOT_USED == "not used"


def do(folder, key, again=False, name="step"):
    """A step that writes a file and a folder; returns whether it went on, if it was done, and what was said."""
    told, said, cleared = [], [], []

    def make():
        told.append(not cleared)
        (folder / "made").mkdir(exist_ok=True)
        (folder / "made" / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")

    steps, files = KeptFiles(folder / "kept", again, said.append), [folder / "made", folder / "b.txt"]
    steps(name, key, files, make, lambda: cleared.append(True))
    return told, said


def test_a_step_is_done_once_and_says_so(tmp_path):
    assert do(tmp_path, key()) == ([False], [])
    told, (line,) = do(tmp_path, key())
    assert told == []
    assert line.startswith("step is kept from 20")
    assert do(tmp_path, key(), again=True) == ([False], [])
    assert do(tmp_path, key(weights="others")) == ([False], ["step is done anew, for other weights than the last time"])


@pytest.mark.parametrize("file", ["made/a.txt", "b.txt"])
def test_a_step_is_done_again_if_its_files_are_not_as_it_left_them(tmp_path, file):
    do(tmp_path, key())
    (tmp_path / file).write_text("c")
    assert do(tmp_path, key())[0] == [False]
    (tmp_path / file).unlink()
    assert do(tmp_path, key())[0] == [False]
    assert do(tmp_path, key())[0] == []


def test_a_step_that_was_stopped_goes_on_with_its_own_beginning_alone(tmp_path):
    def stopped():
        raise KeyboardInterrupt

    files = [tmp_path / "made", tmp_path / "b.txt"]
    with pytest.raises(KeyboardInterrupt):
        KeptFiles(tmp_path / "kept")("step", key(), files, stopped)
    with pytest.raises(KeyboardInterrupt):
        KeptFiles(tmp_path / "kept")("step", key(weights="others"), files, stopped)
    assert do(tmp_path, key())[0] == [False]
    with pytest.raises(KeyboardInterrupt):
        KeptFiles(tmp_path / "kept", again=True)("step", key(), files, stopped)
    assert do(tmp_path, key())[0] == []  # its files are still as they were
    (tmp_path / "b.txt").unlink()
    assert do(tmp_path, key())[0] == [True]


def test_where_nothing_may_be_thrown_away_the_step_does_not_go_on_with_it_the_next_time_either(tmp_path):
    def refused():
        raise LockedError("in use")

    def stopped():
        raise KeyboardInterrupt

    files = [tmp_path / "made", tmp_path / "b.txt"]
    with pytest.raises(KeyboardInterrupt):
        KeptFiles(tmp_path / "kept")("step", key(weights="others"), files, stopped)
    with pytest.raises(LockedError):
        KeptFiles(tmp_path / "kept")("step", key(), files, stopped, refused)
    assert do(tmp_path, key(weights="others"))[0] == [False]  # of which a part may be gone
    with pytest.raises(LockedError):
        KeptFiles(tmp_path / "kept")("step", key(), files, stopped, refused)
    assert do(tmp_path, key())[0] == [False]
