"""Flags of what models behind servers cost, and how much of it a run may take."""

from typing import Any

from absl import flags

from adapters.spending import Prices

_NAMES = ("prices", "spend_calls", "spend_money")


def define_flags() -> None:
    """Defines them, as the caller's own."""
    flags.disclaim_key_flags()
    flags.DEFINE_list("prices", [], "MODEL=INPUT/OUTPUT, money for a million tokens.")
    flags.DEFINE_integer("spend_calls", None, "Calls of all models at most.")
    flags.DEFINE_float("spend_money", None, "For all models at most.")


def from_flags() -> dict[str, Any]:
    """The fields of `experiments.players.Servers` that they say.

    Raises:
      ValueError: a price is none.
    """
    prices = {}
    for text in flags.FLAGS.prices:
        model, _, amounts = text.rpartition("=")
        try:
            given, taken = map(float, amounts.split("/"))
        except ValueError:
            raise ValueError(f"--prices: {text!r}, expected MODEL=INPUT/OUTPUT") from None
        prices[model] = Prices(given, taken)
    values = flags.FLAGS
    return dict(prices=prices, max_calls=values.spend_calls, max_money=values.spend_money)


def given() -> tuple[str, ...]:
    """Those that were given, for another script."""
    return tuple(flags.FLAGS[name].serialize() for name in _NAMES if flags.FLAGS[name].present)
