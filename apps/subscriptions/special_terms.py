"""What was agreed with one customer beyond the plan: discounts it has, and prices of its own."""

from django.db import models
from django.db.models import F, Q

from apps.common.fields import CurrencyField, MinorUnitsField
from apps.common.models import Entity
from apps.common.triggers import fixed_columns, frozen_when, undeletable
from apps.plans.models import Coupon, CouponKind


class AppliedDiscount(Entity):
    """
    A coupon that a customer redeemed, with a copy of its terms; for one subscription, or for all of the customer.

    It counts for documents billed from `applied_at` on and before `ended_at`, while it has uses left. Which uses are
    taken stands with the documents.
    """

    id_prefix = "dis"

    customer = models.ForeignKey("customers.Customer", on_delete=models.PROTECT, related_name="discounts")
    subscription = models.ForeignKey(
        "subscriptions.Subscription", null=True, blank=True, on_delete=models.PROTECT, related_name="discounts"
    )
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="redemptions")
    code = models.CharField(max_length=60)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=CouponKind)
    amount_minor = MinorUnitsField(null=True, blank=True)
    currency = CurrencyField(blank=True)
    percent = models.DecimalField(max_digits=7, decimal_places=4, null=True, blank=True)
    charge_codes = models.JSONField(default=list, blank=True, help_text="Charges it is for; empty: all.")
    plan_codes = models.JSONField(default=list, blank=True, help_text="Plans it is for; empty: all.")
    uses_max = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="On how many documents it takes something off; empty: on every one."
    )
    applied_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "subscription", "coupon"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="applied_discount_one_live",
            ),
            models.CheckConstraint(
                name="applied_discount_takes_one_thing",
                condition=(
                    Q(kind="fixed", amount_minor__isnull=False, amount_minor__gt=0, percent__isnull=True)
                    & ~Q(currency="")
                )
                | Q(
                    kind="percent",
                    amount_minor__isnull=True,
                    currency="",
                    percent__isnull=False,
                    percent__gt=0,
                    percent__lte=100,
                ),
            ),
            models.CheckConstraint(
                name="applied_discount_uses_from_one", condition=Q(uses_max__isnull=True) | Q(uses_max__gte=1)
            ),
            models.CheckConstraint(
                name="applied_discount_ends_after_start",
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("applied_at")),
            ),
        ]
        triggers = [
            *fixed_columns(
                name="applied_discount_terms_fixed",
                columns=(
                    "customer_id",
                    "subscription_id",
                    "coupon_id",
                    "code",
                    "name",
                    "kind",
                    "amount_minor",
                    "currency",
                    "percent",
                    "charge_codes",
                    "plan_codes",
                    "uses_max",
                    "applied_at",
                ),
            ),
            *frozen_when(name="applied_discount_ended_once", condition="OLD.ended_at IS NOT NULL", mutable=()),
            *undeletable(name="applied_discount_kept"),
        ]

    def __str__(self) -> str:
        return self.code


class PriceOverride(Entity):
    """
    Another price for one charge of one subscription, asked for by one person and decided by another.

    Only an approved one is billed, from `decided_at` until `ended_at`; what was asked for never changes.
    """

    id_prefix = "pov"

    subscription = models.ForeignKey(
        "subscriptions.Subscription", on_delete=models.PROTECT, related_name="price_overrides"
    )
    charge_code = models.CharField(max_length=60)
    terms = models.JSONField(help_text="The charge in canonical form, as the engine reads it.")
    reason = models.CharField(max_length=500)
    # Who a person is does not change with the name; the name is kept beside it for reading.
    requested_by = models.CharField(max_length=60, help_text="Kind and id of the actor.")
    requested_by_name = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    is_approved = models.BooleanField(null=True, help_text="Empty: waits for a decision.")
    decided_by = models.CharField(max_length=60, blank=True, help_text="Kind and id of the actor.")
    decided_by_name = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.CharField(max_length=500, blank=True, help_text="What who decided said.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="price_override_reason_given", condition=~Q(reason="")),
            models.CheckConstraint(name="price_override_four_eyes", condition=~Q(decided_by=F("requested_by"))),
            models.CheckConstraint(
                name="price_override_decision_whole",
                condition=Q(is_approved__isnull=True, decided_by="", decided_at__isnull=True, ended_at__isnull=True)
                | (Q(is_approved__isnull=False, decided_at__isnull=False) & ~Q(decided_by="")),
            ),
            models.CheckConstraint(
                name="price_override_only_approved_end",
                condition=Q(ended_at__isnull=True) | Q(is_approved=True, ended_at__gte=F("decided_at")),
            ),
            models.UniqueConstraint(
                fields=["subscription", "charge_code"],
                condition=Q(is_approved=True, ended_at__isnull=True),
                name="price_override_one_live",
            ),
        ]
        triggers = [
            *fixed_columns(
                name="price_override_asked_fixed",
                columns=(
                    "subscription_id",
                    "charge_code",
                    "terms",
                    "reason",
                    "requested_by",
                    "requested_by_name",
                    "requested_at",
                ),
            ),
            *frozen_when(
                name="price_override_decided_once", condition="OLD.is_approved IS NOT NULL", mutable=("ended_at",)
            ),
            *frozen_when(name="price_override_ended_once", condition="OLD.ended_at IS NOT NULL", mutable=()),
            *undeletable(name="price_override_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.charge_code} of {self.subscription_id}"
