"""What a training will take, before it runs: counted from its config, without a GPU and without computing a step."""

from mmssl_dynamic.forecast.cards import CARDS, Card
from mmssl_dynamic.forecast.forecast import Forecast, forecast
from mmssl_dynamic.forecast.machine import Machine

__all__ = ["CARDS", "Card", "Forecast", "Machine", "forecast"]
