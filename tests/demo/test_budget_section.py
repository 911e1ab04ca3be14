"""The demo's report ends with the network to take for half of the largest one's work."""

from mmssl_dynamic.demo.budget_section import budget_section
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.visualization.report import HtmlReport


def network(name, top1, macs):
    return NetworkResult(name, top1, None, macs, macs * 1000, None, 1.0)


def test_the_best_within_half_of_the_work_is_chosen_and_drawn(tmp_path):
    networks = [network("small", 60.0, 100), network("middle", 70.0, 400), network("large", 75.0, 1000)]
    page = HtmlReport("demo")
    budget_section(page, networks, "0" * 64, tmp_path)
    text = page.save(tmp_path / "report.html").read_text()
    assert "mean of the tasks: middle, 70.00 %" in text
    assert "runner-up: small, 60.00 %" in text
    assert "next step up: large, +5.00 points, 2.00 times the budget" in text
    assert (tmp_path / "budget.png").stat().st_size > 5000
    assert (tmp_path / "budget.svg").is_file()
