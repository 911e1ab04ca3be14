"""Tables of devices: matched by the super-network, filled by hand, and neighbours for what nobody measured."""

import json

import pytest

from mmssl_dynamic.budget import Cost
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.selection import Candidate, DeviceTable, Measurement, TaskCandidates
from mmssl_dynamic.selection.device_table import Conditions, estimate

WIDTHS = TaskCandidates(
    "scenes",
    tuple(Candidate(f"w{i}", 50.0 + i, None, Cost(100 * i, 10 * i)) for i in (1, 2, 3, 4)),
    "accuracy",
    "ours",
    {},
    "routing.json",
)


def priced(*entries):
    table = DeviceTable(Conditions("phone"), list(entries))
    return {c.name: (c.cost.latency_ms, c.cost.estimated) for c in table.priced(WIDTHS).candidates}


def test_networks_without_a_measurement_lie_between_their_neighbours_and_are_marked():
    found = priced(Measurement("w1", 2.0), Measurement("w3", 8.0))
    assert found == {"w1": (2.0, False), "w2": (5.0, True), "w3": (8.0, False), "w4": (pytest.approx(32 / 3), True)}
    assert estimate([(100, 2.0), (300, 8.0)], 50) == pytest.approx(1.0)


def test_an_entry_of_another_super_network_does_not_count_and_one_of_this_one_comes_first():
    own = Measurement("w1", 2.0, source_weights_fingerprint="ours")
    foreign = Measurement("w2", 9.0, source_weights_fingerprint="theirs")
    assert priced(own, foreign)["w2"] == (4.0, True)
    by_hand = Measurement("w1", 7.0)
    assert priced(own, by_hand)["w1"] == (2.0, False) == priced(by_hand, own)["w1"]
    with pytest.raises(ArtifactError, match="holds no network of routing.json: its entries are of other"):
        priced(foreign)


def test_a_table_is_read_back_and_one_by_hand_needs_little(tmp_path):
    table = DeviceTable(Conditions("CPU", "torch 2", 1, 1, (32, 32)), [Measurement("w1", 2.0, 1.9, 2.2, "a", "b", "f")])
    table.save(tmp_path / "t.json")
    assert DeviceTable.load(tmp_path / "t.json") == table
    assert str(table.conditions) == "CPU, torch 2, 1 image a pass, 1 thread, 32 x 32 px"
    data = {"schema_version": 1, "kind": "device table", "conditions": {"device": "my phone"}}
    data["entries"] = [{"subnet": "w1", "latency_ms": 3.1}]
    (tmp_path / "hand.json").write_text(json.dumps(data))
    assert DeviceTable.load(tmp_path / "hand.json").entries == [Measurement("w1", 3.1)]
    for change, message in (
        ({"kind": "routing"}, "is none; write it with `mmssl-dynamic latency`"),
        ({"schema_version": 9}, "schema version 9, not 1"),
        ({"entries": []}, "needs networks, and latencies above 0"),
        ({"entries": [{"subnet": "w1", "latency_ms": 0}]}, "latencies above 0"),
        ({"entries": [{"subnet": "w1", "latency_ms": "fast"}]}, r"entries\[0\].latency_ms"),
    ):
        (tmp_path / "hand.json").write_text(json.dumps({**data, **change}))
        with pytest.raises(ArtifactError, match=message):
            DeviceTable.load(tmp_path / "hand.json")


@pytest.mark.parametrize(
    ("measured", "fitting"),
    [
        (None, {"torch", "onnxruntime", "onnxruntime INT8"}),
        ("torch 2.11.0", {"torch"}),
        ("onnxruntime 1.32.0", {"onnxruntime"}),
        ("onnxruntime 1.32.0 INT8", {"onnxruntime INT8"}),
        ("onnxruntime", {"onnxruntime"}),  # by hand
        ("onnxruntime INT8", {"onnxruntime INT8"}),
    ],
)
def test_conditions_know_which_files_they_are_of(measured, fitting):
    conditions = Conditions("laptop", measured)
    kinds = {"torch": ("torch", ""), "onnxruntime": ("onnxruntime", ""), "onnxruntime INT8": ("onnxruntime", "INT8")}
    assert {name for name, kind in kinds.items() if conditions.runs(*kind)} == fitting
