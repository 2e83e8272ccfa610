"""Commercial offers and their immutable terms."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import CurrencyField, MinorUnitsField, QuantityField
from apps.common.models import Entity
from apps.common.triggers import fixed_columns, frozen_when, part_open_while, undeletable
from apps.customers.models import Customer
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.metering.models import Meter


class Plan(Entity):
    """A commercial offer with a stable code; its terms live in versions."""

    id_prefix = "pln"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120)

    class Meta:
        ordering = ["code"]
        triggers = undeletable(name="plan_kept")

    def __str__(self) -> str:
        return self.name


class Cohort(Entity):
    """
    Some of the customers, for whom a version can be published before, or instead of, all of them.

    A customer belongs because it is named, or because its share of the experiment lies in the cohort's range. The share
    comes from customer and experiment alone, so ranges of one experiment divide the customers and share nobody.
    """

    id_prefix = "coh"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    experiment = models.CharField(max_length=60, help_text="Cohorts of one experiment divide the same customers.")
    from_percent = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    to_percent = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                name="cohort_range_whole",
                condition=Q(from_percent__isnull=True, to_percent__isnull=True)
                | Q(
                    from_percent__isnull=False,
                    to_percent__isnull=False,
                    from_percent__gte=0,
                    to_percent__gt=F("from_percent"),
                    to_percent__lte=100,
                ),
            ),
            models.CheckConstraint(name="cohort_experiment_given", condition=~Q(experiment="")),
        ]
        triggers = [
            # A range that moved would move customers; who wants other customers makes another cohort.
            *fixed_columns(name="cohort_fixed", columns=("code", "experiment", "from_percent", "to_percent")),
            *undeletable(name="cohort_kept"),
        ]

    def __str__(self) -> str:
        return self.code


class CohortMember(Entity):
    """A customer that belongs to a cohort because somebody named it."""

    id_prefix = "com"

    cohort = models.ForeignKey(Cohort, on_delete=models.PROTECT, related_name="members")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="cohort_memberships")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["cohort", "customer"], name="cohort_member_once")]

    def __str__(self) -> str:
        return f"{self.customer} in {self.cohort}"


class PlanVersionStatus(models.TextChoices):
    """Whether terms may still change and be sold."""

    DRAFT = "DRAFT", "Draft: may be replaced, cannot be subscribed to"
    PUBLISHED = "PUBLISHED", "Published: frozen, on sale from its effective date"
    RETIRED = "RETIRED", "Retired: frozen, no new subscriptions; existing ones stay on it"


PLAN_VERSION_EDGES = (
    Edge("publish", (PlanVersionStatus.DRAFT,), PlanVersionStatus.PUBLISHED),
    Edge("retire", (PlanVersionStatus.PUBLISHED,), PlanVersionStatus.RETIRED),
)


class PlanVersion(LifecycleModel):
    """The terms of a plan as one pricing document gave them; frozen by publishing."""

    id_prefix = "plv"
    edges = PLAN_VERSION_EDGES
    initial_status = PlanVersionStatus.DRAFT

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    status = FSMField(choices=PlanVersionStatus, default=PlanVersionStatus.DRAFT, protected=True)
    document = models.JSONField(help_text="The pricing document in canonical form.")
    document_hash = models.CharField(max_length=64)
    currency = CurrencyField()
    interval_unit = models.CharField(max_length=5)
    interval_count = models.PositiveSmallIntegerField()
    rounding = models.CharField(max_length=10)
    effective_at = models.DateTimeField()
    cohort = models.ForeignKey(
        Cohort,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="plan_versions",
        help_text="On sale for its members only; chosen when the version is published.",
    )
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["plan__code", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "version"], name="plan_version_once"),
            models.UniqueConstraint(fields=["plan"], condition=Q(status="DRAFT"), name="plan_one_draft"),
            models.CheckConstraint(name="plan_version_from_one", condition=Q(version__gte=1)),
            models.CheckConstraint(name="plan_version_status_known", condition=Q(status__in=PlanVersionStatus.values)),
            models.CheckConstraint(
                name="plan_version_interval_known",
                condition=Q(interval_unit__in=["day", "week", "month", "year"], interval_count__gte=1),
            ),
        ]
        triggers = [
            *status_triggers(
                name="plan_version_status_edges", initial=PlanVersionStatus.DRAFT, edges=PLAN_VERSION_EDGES
            ),
            *frozen_when(
                name="plan_version_frozen",
                condition="OLD.status <> 'DRAFT'",
                mutable=("status", "retired_at"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.code} v{self.version}"

    @transition(field=status, source=PlanVersionStatus.DRAFT, target=PlanVersionStatus.PUBLISHED)
    def publish(self, *, at: datetime) -> None:
        """Freeze the terms and put them on sale."""
        self.published_at = at

    @transition(field=status, source=PlanVersionStatus.PUBLISHED, target=PlanVersionStatus.RETIRED)
    def retire(self, *, at: datetime) -> None:
        """Take the terms off sale; whoever has them keeps them."""
        self.retired_at = at


_OPEN_WHILE_DRAFT = "parent.status = 'DRAFT'"


class Charge(Entity):
    """How one meter, or a fixed fee, is priced in a version."""

    id_prefix = "chg"

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.CASCADE, related_name="charges")
    position = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=60)
    model = models.CharField(max_length=24)
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="charges")
    timing = models.CharField(max_length=8)
    terms = models.JSONField(help_text="The charge in canonical form, as the engine reads it.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["plan_version", "code"], name="charge_code_once"),
            models.UniqueConstraint(fields=["plan_version", "position"], name="charge_position_once"),
            models.CheckConstraint(name="charge_timing_known", condition=Q(timing__in=["advance", "arrears"])),
        ]
        triggers = part_open_while(
            name="charge_frozen",
            parent_table="plans_planversion",
            parent_column="plan_version_id",
            condition=_OPEN_WHILE_DRAFT,
        )

    def __str__(self) -> str:
        return self.code


class Feature(Entity):
    """What a version grants: a switch, a static limit or a metered limit. `*` stands for all features not named."""

    id_prefix = "ftr"

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.CASCADE, related_name="features")
    code = models.CharField(max_length=60)
    is_granted = models.BooleanField()
    # A limit is a number or is said to be unlimited; silence is neither.
    limit_units = QuantityField(null=True, blank=True)
    is_unlimited = models.BooleanField(default=False)
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="features")
    on_exceed = models.CharField(max_length=8, blank=True)
    is_prorated = models.BooleanField(
        default=False, help_text="A period that is served in part has that part of the limit."
    )

    class Meta:
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(fields=["plan_version", "code"], name="feature_code_once"),
            models.CheckConstraint(
                name="feature_limit_is_explicit",
                condition=Q(is_unlimited=False) | Q(limit_units__isnull=True),
            ),
            models.CheckConstraint(
                name="feature_metered_has_limit",
                condition=Q(meter__isnull=True) | Q(is_unlimited=True) | Q(limit_units__isnull=False),
            ),
            models.CheckConstraint(
                name="feature_on_exceed_known", condition=Q(on_exceed__in=["", "reject", "throttle", "notify"])
            ),
        ]
        triggers = part_open_while(
            name="feature_frozen",
            parent_table="plans_planversion",
            parent_column="plan_version_id",
            condition=_OPEN_WHILE_DRAFT,
        )

    def __str__(self) -> str:
        return self.code


class CouponKind(models.TextChoices):
    """What a coupon takes off."""

    FIXED = "fixed", "Fixed: an amount of money per document"
    PERCENT = "percent", "Percent: a part of the lines that it is for"


class CouponDuration(models.TextChoices):
    """On how many documents a redeemed coupon takes something off."""

    ONCE = "once", "Once: on one document"
    PERIODS = "periods", "Periods: on a given number of documents"
    FOREVER = "forever", "Forever: on every document until it is ended"


class Coupon(Entity):
    """
    An offer of a discount, with a code that a customer redeems.

    Its terms never change; whoever redeemed it keeps a copy of them. Withdrawing ends redemption and nothing else.
    """

    id_prefix = "cpn"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120, help_text="What documents call the discount.")
    kind = models.CharField(max_length=8, choices=CouponKind)
    amount_minor = MinorUnitsField(null=True, blank=True)
    currency = CurrencyField(blank=True, help_text="Of a fixed amount.")
    percent = models.DecimalField(max_digits=7, decimal_places=4, null=True, blank=True)
    duration = models.CharField(max_length=8, choices=CouponDuration)
    periods_count = models.PositiveSmallIntegerField(null=True, blank=True)
    charge_codes = models.JSONField(default=list, blank=True, help_text="Charges it is for; empty: all.")
    plan_codes = models.JSONField(default=list, blank=True, help_text="Plans it is for; empty: all.")
    redemptions_max = models.PositiveIntegerField(null=True, blank=True)
    redemptions_count = models.PositiveIntegerField(default=0)
    redeem_by_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="coupon_takes_one_thing",
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
                name="coupon_duration_whole",
                condition=Q(duration__in=["once", "forever"], periods_count__isnull=True)
                | Q(duration="periods", periods_count__isnull=False, periods_count__gte=1),
            ),
            models.CheckConstraint(
                name="coupon_redemptions_within_max",
                condition=Q(redemptions_max__isnull=True) | Q(redemptions_count__lte=F("redemptions_max")),
            ),
        ]
        triggers = [
            *fixed_columns(
                name="coupon_terms_fixed",
                columns=(
                    "code",
                    "name",
                    "kind",
                    "amount_minor",
                    "currency",
                    "percent",
                    "duration",
                    "periods_count",
                    "charge_codes",
                    "plan_codes",
                    "redemptions_max",
                    "redeem_by_at",
                ),
            ),
            *undeletable(name="coupon_kept"),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def uses_max(self) -> int | None:
        """On how many documents a redemption takes something off; None: on every one."""
        return 1 if self.duration == CouponDuration.ONCE else self.periods_count
