"""
Four pricing documents to begin with, and when to choose each.

They are text, not data: what is exported is read and changed by a person. Each applies as it stands once its meters
exist, and its golden examples come out.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A document to begin with, and advice in the words of somebody who sells."""

    name: str
    title: str
    stage: str  # of the company that it suits
    choose_when: str
    beware: str
    text: str


_SEAT: Final = """\
# Seats: one price per person. The subscription's quantity is the number of seats.
plan: team
name: Team
currency: USD
interval: {unit: month, count: 1}
effective_at: "2026-01-01T00:00:00Z"
trial_days: 14
base_fee: {amount: "12.00", timing: advance, per_quantity: true}
features:
  seats: {limit: unlimited}
examples:
  - {name: one seat, usage: {}, total: "12.00"}
  - {name: twenty-five seats, usage: {}, quantity: "25", total: "300.00"}
"""

_TIERED: Final = """\
# Tiers: a package per size of customer, with limits instead of overage. Export it once per tier and change the numbers.
plan: starter
name: Starter
currency: USD
interval: {unit: month, count: 1}
effective_at: "2026-01-01T00:00:00Z"
base_fee: {amount: "49.00", timing: advance}
features:
  projects: {limit: "10"}
  seats: {limit: "5"}
  # needs the meter api_calls
  api_calls: {limit: "100000", meter: api_calls, on_exceed: notify}
  audit_log: false
examples:
  - {name: a month, usage: {}, total: "49.00"}
"""

_USAGE: Final = """\
# Usage: no fee, every unit counts, and more of them cost less each. Graduated, so that no bill falls when usage rises.
plan: metered
name: Pay as you go
currency: USD
interval: {unit: month, count: 1}
effective_at: "2026-01-01T00:00:00Z"
charges:
  # needs the meter api_calls
  - code: api_calls
    meter: api_calls
    model: graduated
    unit: calls
    included_units: "1000"
    tiers:
      - {up_to: "100000", unit_rate: "0.002"}
      - {up_to: "1000000", unit_rate: "0.0015"}
      - {up_to: null, unit_rate: "0.001"}
examples:
  - {name: within what is free, usage: {api_calls: "1000"}, total: "0.00"}
  # (100,000 - 1,000) x 0.002 = 198.00; 150,000 x 0.0015 = 225.00
  - {name: two tiers, usage: {api_calls: "250000"}, total: "423.00"}
"""

_HYBRID: Final = """\
# Hybrid: a fee that both sides can plan with, usage included in it, and a price for what goes beyond.
plan: growth
name: Growth
currency: USD
interval: {unit: month, count: 1}
effective_at: "2026-01-01T00:00:00Z"
base_fee: {amount: "199.00", timing: advance}
charges:
  # needs the meter api_calls
  - code: api_calls
    meter: api_calls
    model: overage
    unit: calls
    included_units: "200000"
    unit_rate: "0.001"
    max_amount: "2000.00"
features:
  "*": true
examples:
  - {name: within what is included, usage: {api_calls: "200000"}, total: "199.00"}
  - {name: half as much again, usage: {api_calls: "300000"}, total: "299.00"}
  - {name: never more than the cap, usage: {api_calls: "9000000"}, total: "2199.00"}
"""

PRESETS: Final = (
    Preset(
        name="seat",
        title="Per seat",
        stage="First customers: the price fits into one sentence.",
        choose_when="Value grows with the number of people who work in the product, and usage costs you little.",
        beware="Customers share seats when a seat is dear; heavy users cost the same as light ones.",
        text=_SEAT,
    ),
    Preset(
        name="tiered",
        title="Tiers",
        stage="Selling itself: visitors compare three columns and choose one.",
        choose_when="Customers fall into groups by size, and want a bill that they know beforehand.",
        beware="Whoever sits just below a limit has every reason to stay there; watch who outgrows a tier and leaves.",
        text=_TIERED,
    ),
    Preset(
        name="usage",
        title="Usage",
        stage="A platform or an API: adoption comes first, and revenue follows use.",
        choose_when="Value and your own cost follow a quantity that customers understand and can see.",
        beware="Revenue swings with the season and buyers cannot budget: show usage early, and offer a cap.",
        text=_USAGE,
    ),
    Preset(
        name="hybrid",
        title="Fee and usage",
        stage="Scaling and enterprise: revenue that can be planned, with growth in it.",
        choose_when="You have usage data of a year or so, and want a floor without losing what heavy users are worth.",
        beware="Two numbers to explain. Include enough that most customers never see the second one.",
        text=_HYBRID,
    ),
)
