import pytest

from mmssl_dynamic.budget import Budget, Cost, amount, quantity
from mmssl_dynamic.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("max_latency", "5ms", 5),
        ("max_latency", "0.005 s", 5),
        ("max_latency", "250us", 0.25),
        ("max_macs", "200M", 2e8),
        ("max_macs", "1.5g", 1.5e9),
        ("max_macs", "1e8", 1e8),
        ("max_params", "2500k", 2.5e6),
        ("max_size", "8MB", 8e6),
        ("max_size", "8MiB", 8 * 2**20),
    ],
)
def test_quantities_are_read_as_people_type_them(option, text, value):
    assert quantity(text, option) == pytest.approx(value)
    assert Budget.of({option: text}).limits == {
        {"max_latency": "latency_ms", "max_size": "size_bytes"}.get(option, option[4:]): pytest.approx(value)
    }


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("max_latency", "5"),
        ("max_latency", "5MB"),
        ("max_latency", "fast"),
        ("max_macs", "-3M"),
        ("max_macs", "0"),
        ("max_macs", "1.2.3M"),
        ("max_size", "8M"),
        ("max_size", ""),
        ("max_params", "1e999"),
    ],
)
def test_what_is_no_quantity_is_refused_with_an_example(option, text):
    flag = f"--{option.replace('_', '-')}"
    with pytest.raises(ConfigError, match=rf"{flag} .*must be a number above 0 with one of the units .*, such as "):
        quantity(text, option)


def test_a_network_fits_if_it_stays_within_every_limit():
    budget = Budget(macs=2e8, size_bytes=8e6)
    assert budget.fits(Cost(macs=200_000_000, params=2_000_000))  # both to the last one
    assert not budget.fits(Cost(macs=200_000_001, params=1))
    assert not budget.fits(Cost(macs=1, params=2_000_001))
    assert budget.load(Cost(macs=100_000_000, params=3_000_000)) == pytest.approx(1.5)
    assert Budget().fits(Cost(macs=10**12, params=10**9))


def test_a_limit_on_the_latency_asks_for_latencies():
    with pytest.raises(ConfigError, match="--max-latency needs the latencies of a device"):
        Budget(latency_ms=5).fits(Cost(macs=1, params=1))
    assert Budget(latency_ms=5).fits(Cost(macs=1, params=1, latency_ms=5.0))


def test_costs_are_said_with_their_units():
    assert amount("latency_ms", 3.14159) == "3.14 ms"
    assert amount("size_bytes", 8.5e6) == "8.5 MB"
    assert amount("macs", 219e6) == "219 M multiply-accumulates"
    assert str(Budget(latency_ms=5, params=2e6)) == "at most 5 ms and at most 2 M weights"
    shown = str(Cost(macs=41_200_000, params=1_230_000, latency_ms=2.0, estimated=True))
    assert shown == "2.00 ms (estimated), 41.2 M multiply-accumulates, 1.23 M weights"
