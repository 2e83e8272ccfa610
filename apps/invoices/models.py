"""Legal documents: drafts that may change, invoices that may not."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from apps.common.fields import CurrencyField, MinorUnitsField, QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, frozen_when, part_open_while, undeletable
from apps.customers.models import Customer
from apps.invoices.triggers import adds_up, adjustments_given_back, discount_frozen, uses_given_back
from apps.lifecycle.edges import Edge, status_triggers
from apps.lifecycle.models import LifecycleModel
from apps.subscriptions.models import BillingPeriod, Subscription
from apps.subscriptions.special_terms import AppliedDiscount


class TaxRegime(models.TextChoices):
    """How an issuing entity determines tax."""

    NOT_REGISTERED = "NOT_REGISTERED", "Not registered: charges no tax, and says so on the document"
    STATIC = "STATIC", "Static table: rates by country, category and day; a missing rate stops the document"


class BillingEntity(Entity):
    """The legal person that issues documents."""

    id_prefix = "ent"

    code = models.CharField(max_length=20, unique=True)
    legal_name = models.CharField(max_length=200)
    address = models.TextField()
    country = models.CharField(max_length=2)
    tax_id = models.CharField(max_length=40, blank=True)
    tax_regime = models.CharField(max_length=16, choices=TaxRegime, default=TaxRegime.NOT_REGISTERED)
    timezone = models.CharField(max_length=64, default="UTC")
    is_default = models.BooleanField(default=False)
    grace_hours = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Hours a cycle draft waits for late usage; empty takes the installation's."
    )
    footer = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "billing entities"
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="billing_entity_default"),
            models.CheckConstraint(name="billing_entity_regime_known", condition=Q(tax_regime__in=TaxRegime.values)),
        ]
        triggers = undeletable(name="billing_entity_kept")

    def __str__(self) -> str:
        return self.legal_name


class NumberSeries(Entity):
    """A gapless series: the counter moves in the transaction that finalises, so a rollback gives the number back."""

    id_prefix = "ser"

    entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="series")
    kind = models.CharField(max_length=12, default="invoice")
    year = models.PositiveSmallIntegerField()
    prefix = models.CharField(max_length=20)
    last_number = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "number series"
        constraints = [
            models.UniqueConstraint(fields=["entity", "kind", "year"], name="number_series_once"),
            models.UniqueConstraint(fields=["prefix"], name="number_series_prefix_once"),
            models.CheckConstraint(name="number_series_not_negative", condition=Q(last_number__gte=0)),
        ]
        triggers = undeletable(name="number_series_kept")

    def __str__(self) -> str:
        return f"{self.prefix} at {self.last_number}"


class InvoiceStatus(models.TextChoices):
    """What a document is; overdue and partly paid are derived from dates and amounts."""

    DRAFT = "DRAFT", "Draft: may still change, has no number"
    OPEN = "OPEN", "Open: final, numbered, to be paid"
    PAID = "PAID", "Paid: nothing is owed on it"
    DISCARDED = "DISCARDED", "Discarded: a draft that was dropped; it never had a number"
    VOID = "VOID", "Void: cancelled by a further posting, its number stays"
    UNCOLLECTIBLE = "UNCOLLECTIBLE", "Uncollectible: final, no longer expected to be paid"


INVOICE_EDGES = (
    Edge("finalize", (InvoiceStatus.DRAFT,), InvoiceStatus.OPEN),
    Edge("discard", (InvoiceStatus.DRAFT,), InvoiceStatus.DISCARDED),
    Edge("pay", (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE), InvoiceStatus.PAID),
    Edge("void", (InvoiceStatus.OPEN,), InvoiceStatus.VOID),
    Edge("mark_uncollectible", (InvoiceStatus.OPEN,), InvoiceStatus.UNCOLLECTIBLE),
)


class InvoiceKind(models.TextChoices):
    """Why the document exists."""

    START = "START", "Start: what is billed in advance when a subscription begins"
    CYCLE = "CYCLE", "Cycle: the close of a billing period"
    USAGE = "USAGE", "Usage: what was used on charges that are billed event by event"
    ADJUSTMENT = "ADJUSTMENT", "Adjustment: a difference to what earlier documents billed"


class Invoice(LifecycleModel):
    """A draft, then a frozen document with a gapless number and a copy of all that it prints."""

    id_prefix = "inv"
    edges = INVOICE_EDGES
    initial_status = InvoiceStatus.DRAFT

    entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="invoices")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="invoices")
    subscription = models.ForeignKey(Subscription, null=True, on_delete=models.PROTECT, related_name="invoices")
    billing_period = models.ForeignKey(BillingPeriod, null=True, on_delete=models.PROTECT, related_name="invoices")
    kind = models.CharField(max_length=10, choices=InvoiceKind)
    status = FSMField(choices=InvoiceStatus, default=InvoiceStatus.DRAFT, protected=True)
    currency = CurrencyField()

    discount_minor = MinorUnitsField(default=0, db_default=0, help_text="What discounts took from the lines.")
    subtotal_minor = MinorUnitsField(default=0, help_text="The lines less their discounts.")
    tax_minor = MinorUnitsField(default=0)
    total_minor = MinorUnitsField(default=0)
    # Settled at finalisation with the customer's account: what it had is used, what a total below zero leaves is put
    # there (then the number is below zero, too).
    credit_minor = MinorUnitsField(default=0, help_text="Account credit used on the document.")
    paid_minor = MinorUnitsField(default=0)

    period_starts_at = models.DateTimeField()
    period_ends_at = models.DateTimeField()
    drafted_at = models.DateTimeField()
    finalize_after_at = models.DateTimeField(help_text="End of grace: until then late usage joins the draft.")
    draft_hash = models.CharField(max_length=64)
    issues = models.JSONField(default=list, help_text="Why the draft cannot be finalised, each with its remedy.")

    series = models.ForeignKey(NumberSeries, null=True, blank=True, on_delete=models.PROTECT, related_name="invoices")
    sequence_number = models.BigIntegerField(null=True, blank=True)
    number = models.CharField(max_length=40, null=True, blank=True, unique=True)
    issue_date = models.DateField(null=True, blank=True)
    due_date = models.DateField(null=True, blank=True)
    # What the document prints, copied at finalisation: seller, buyer, lines, taxes, totals; and its hash.
    snapshot = models.JSONField(null=True, blank=True)
    snapshot_hash = models.CharField(max_length=64, blank=True)
    finalized_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    uncollectible_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["billing_period", "kind"],
                # Usage billed event by event makes many documents; each bills from where the one before it ended.
                condition=~Q(status__in=["VOID", "DISCARDED"]) & ~Q(kind="USAGE"),
                name="invoice_one_live_per_period",
            ),
            models.UniqueConstraint(fields=["series", "sequence_number"], name="invoice_number_once"),
            models.CheckConstraint(name="invoice_status_known", condition=Q(status__in=InvoiceStatus.values)),
            models.CheckConstraint(name="invoice_kind_known", condition=Q(kind__in=InvoiceKind.values)),
            models.CheckConstraint(
                name="invoice_total_is_sum", condition=Q(total_minor=F("subtotal_minor") + F("tax_minor"))
            ),
            models.CheckConstraint(name="invoice_discount_not_negative", condition=Q(discount_minor__gte=0)),
            models.CheckConstraint(
                name="invoice_paid_within_total",
                condition=Q(paid_minor__gte=0)
                & (Q(paid_minor__lte=F("total_minor") - F("credit_minor")) | Q(paid_minor=0)),
            ),
            models.CheckConstraint(
                name="invoice_paid_means_settled",
                condition=~Q(status="PAID") | Q(paid_minor=F("total_minor") - F("credit_minor")),
            ),
            models.CheckConstraint(
                name="invoice_credit_within_total",
                condition=Q(status__in=["DRAFT", "DISCARDED"], credit_minor=0)
                | (
                    ~Q(status__in=["DRAFT", "DISCARDED"])
                    & (
                        Q(total_minor__gte=0, credit_minor__gte=0, credit_minor__lte=F("total_minor"))
                        | Q(total_minor__lt=0, credit_minor=F("total_minor"))
                    )
                ),
            ),
            models.CheckConstraint(
                name="invoice_number_with_finality",
                condition=Q(
                    status__in=["DRAFT", "DISCARDED"],
                    number__isnull=True,
                    sequence_number__isnull=True,
                    snapshot__isnull=True,
                )
                | (
                    ~Q(status__in=["DRAFT", "DISCARDED"])
                    & Q(
                        number__isnull=False,
                        sequence_number__isnull=False,
                        snapshot__isnull=False,
                        finalized_at__isnull=False,
                        issue_date__isnull=False,
                        due_date__isnull=False,
                    )
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "-id"], name="invoice_customer"),
            models.Index(fields=["finalize_after_at"], name="invoice_draft_due", condition=Q(status="DRAFT")),
            models.Index(fields=["due_date"], name="invoice_open_due", condition=Q(status="OPEN")),
        ]
        triggers = [
            *status_triggers(name="invoice_status_edges", initial=InvoiceStatus.DRAFT, edges=INVOICE_EDGES),
            *frozen_when(
                name="invoice_frozen",
                condition="OLD.status <> 'DRAFT'",
                mutable=("status", "paid_minor", "paid_at", "voided_at", "uncollectible_at"),
            ),
            adds_up(name="invoice_adds_up"),
            uses_given_back(name="invoice_gives_uses_back"),
            adjustments_given_back(name="invoice_gives_adjustments_back"),
        ]

    def __str__(self) -> str:
        return self.number or "draft"

    @property
    def due_minor(self) -> int:
        """Return what is still owed on the document, in minor units; nothing on drafts and dead documents."""
        if self.status in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE):
            return self.total_minor - self.credit_minor - self.paid_minor
        return 0

    @transition(field=status, source=InvoiceStatus.DRAFT, target=InvoiceStatus.OPEN)
    def finalize(self, *, at: datetime) -> None:
        """Make the draft a document; number and snapshot are set by the service in the same unit."""
        self.finalized_at = at

    @transition(field=status, source=InvoiceStatus.DRAFT, target=InvoiceStatus.DISCARDED)
    def discard(self, *, at: datetime) -> None:
        """Drop the draft; it leaves no gap because it never had a number."""

    @transition(field=status, source=[InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE], target=InvoiceStatus.PAID)
    def pay(self, *, at: datetime) -> None:
        """Record that nothing is owed any more."""
        self.paid_at = at

    @transition(field=status, source=InvoiceStatus.OPEN, target=InvoiceStatus.VOID)
    def void(self, *, at: datetime) -> None:
        """Cancel a final document; number and content stay."""
        self.voided_at = at

    @transition(field=status, source=InvoiceStatus.OPEN, target=InvoiceStatus.UNCOLLECTIBLE)
    def mark_uncollectible(self, *, at: datetime) -> None:
        """Stop expecting the money."""
        self.uncollectible_at = at


_OPEN_WHILE_DRAFT = "parent.status = 'DRAFT'"


class InvoiceLine(Entity):
    """One priced line with the rating decision that made it, complete enough to be recomputed."""

    id_prefix = "lin"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    code = models.CharField(max_length=60)
    kind = models.CharField(max_length=12, help_text="base_fee, fixed_fee, credit, usage, commitment or adjustment.")
    description = models.CharField(max_length=200)
    quantity = QuantityField()
    unit_name = models.CharField(max_length=40, blank=True)
    service_starts_at = models.DateTimeField()
    service_ends_at = models.DateTimeField()
    net_minor = MinorUnitsField(help_text="Before discounts.")
    discount_minor = MinorUnitsField(default=0, db_default=0)
    tax_minor = MinorUnitsField(help_text="On what discounts leave.")
    tax_treatment = models.CharField(max_length=20, blank=True, help_text="Empty: unknown, which stops finalisation.")
    tax_jurisdiction = models.CharField(max_length=60, blank=True)
    tax_rate_percent = models.DecimalField(max_digits=7, decimal_places=4, null=True)
    decision = models.JSONField(help_text="Plan version, charge, quantities, period, rounding, tax evidence, hashes.")
    input_hash = models.CharField(max_length=64)
    output_hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once"),
            models.CheckConstraint(
                name="invoice_line_period_not_empty", condition=Q(service_ends_at__gt=F("service_starts_at"))
            ),
            models.CheckConstraint(
                name="invoice_line_discount_within_net",
                condition=Q(discount_minor=0) | Q(discount_minor__gt=0, discount_minor__lte=F("net_minor")),
            ),
            models.CheckConstraint(
                name="invoice_line_tax_is_decided",
                condition=Q(tax_treatment="", tax_minor=0, tax_rate_percent__isnull=True)
                | (~Q(tax_treatment="") & Q(tax_rate_percent__isnull=False)),
            ),
        ]
        triggers = part_open_while(
            name="invoice_line_frozen",
            parent_table="invoices_invoice",
            parent_column="invoice_id",
            condition=_OPEN_WHILE_DRAFT,
        )

    def __str__(self) -> str:
        return f"{self.position}. {self.description}"

    @property
    def taxable_minor(self) -> int:
        """Return what discounts leave of the line, in minor units."""
        return self.net_minor - self.discount_minor

    @property
    def revenue_kind(self) -> str:
        """Return what kind of revenue the line is: an adjustment is of the kind of the line that it adjusts."""
        return str(self.decision["adjusts"]["kind"]) if self.kind == "adjustment" else self.kind


class InvoiceDiscount(Entity):
    """
    What one discount took from a document, and which of its uses that was.

    A use counts while its document lives: the database gives it back when the document is voided or discarded.
    """

    id_prefix = "idc"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="discounts")
    applied_discount = models.ForeignKey(AppliedDiscount, on_delete=models.PROTECT, related_name="invoice_discounts")
    position = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=60)
    name = models.CharField(max_length=120)
    amount_minor = MinorUnitsField()
    use_number = models.PositiveIntegerField()
    # Copied, so that the row itself can be refused: a constraint sees no other table.
    uses_max = models.PositiveSmallIntegerField(null=True, blank=True)
    is_counted = models.BooleanField(default=True, help_text="Whether the use is taken; no on dead documents.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_discount_position_once"),
            models.UniqueConstraint(fields=["invoice", "applied_discount"], name="invoice_discount_once"),
            models.UniqueConstraint(
                fields=["applied_discount", "use_number"],
                condition=Q(is_counted=True),
                name="invoice_discount_use_once",
            ),
            models.CheckConstraint(
                name="invoice_discount_use_within_max",
                condition=Q(use_number__gte=1) & (Q(uses_max__isnull=True) | Q(use_number__lte=F("uses_max"))),
            ),
            models.CheckConstraint(name="invoice_discount_takes_something", condition=Q(amount_minor__gt=0)),
        ]
        triggers = discount_frozen(name="invoice_discount_frozen")

    def __str__(self) -> str:
        return self.name


class InvoiceTaxLine(Entity):
    """The tax of a document per jurisdiction, category and rate; the sum of its lines' tax."""

    id_prefix = "itx"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="tax_lines")
    jurisdiction = models.CharField(max_length=60)
    category = models.CharField(max_length=40)
    treatment = models.CharField(max_length=20)
    name = models.CharField(max_length=60)
    rate_percent = models.DecimalField(max_digits=7, decimal_places=4)
    base_minor = MinorUnitsField()
    tax_minor = MinorUnitsField()

    class Meta:
        ordering = ["jurisdiction", "category", "rate_percent"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "jurisdiction", "category", "treatment", "rate_percent"],
                name="invoice_tax_line_once",
            )
        ]
        triggers = part_open_while(
            name="invoice_tax_line_frozen",
            parent_table="invoices_invoice",
            parent_column="invoice_id",
            condition=_OPEN_WHILE_DRAFT,
        )

    def __str__(self) -> str:
        return f"{self.name} {self.rate_percent} %"


class BillingRunStatus(models.TextChoices):
    """Whether a run still works."""

    RUNNING = "RUNNING", "Running: claims periods and drafts invoices; one that stays is an alarm"
    COMPLETED = "COMPLETED", "Completed: every period it claimed has an outcome"


BILLING_RUN_EDGES = (Edge("complete", (BillingRunStatus.RUNNING,), BillingRunStatus.COMPLETED),)


class BillingRun(LifecycleModel):
    """One execution of the cycle close, with an outcome for every period it took; the outcomes add up."""

    id_prefix = "run"
    edges = BILLING_RUN_EDGES
    initial_status = BillingRunStatus.RUNNING

    status = FSMField(choices=BillingRunStatus, default=BillingRunStatus.RUNNING, protected=True)
    started_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(max_length=20, help_text="schedule, api, staff or clock.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="billing_run_status_known", condition=Q(status__in=BillingRunStatus.values))
        ]
        triggers = [
            *status_triggers(
                name="billing_run_status_edges", initial=BillingRunStatus.RUNNING, edges=BILLING_RUN_EDGES
            ),
            *undeletable(name="billing_run_kept"),
        ]

    def __str__(self) -> str:
        return f"Run of {self.started_at:%Y-%m-%d %H:%M}"

    @transition(field=status, source=BillingRunStatus.RUNNING, target=BillingRunStatus.COMPLETED)
    def complete(self, *, at: datetime) -> None:
        """Record that nothing claimed is left without an outcome."""
        self.completed_at = at


class BillingOutcome(models.TextChoices):
    """How the closing of one period ended."""

    INVOICED = "INVOICED", "Invoiced: a draft exists"
    NOTHING_DUE = "NOTHING_DUE", "Nothing due: the plan charges nothing for it"
    PARKED = "PARKED", "Parked: it could not be closed; the reason says what to do"


class BillingRunItem(Entity):
    """What a run did with one period."""

    id_prefix = "rni"

    run = models.ForeignKey(BillingRun, on_delete=models.PROTECT, related_name="items")
    billing_period = models.ForeignKey(BillingPeriod, on_delete=models.PROTECT, related_name="run_items")
    outcome = models.CharField(max_length=12, choices=BillingOutcome)
    invoice = models.ForeignKey(Invoice, null=True, on_delete=models.PROTECT, related_name="run_items")
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "billing_period"], name="billing_run_item_once"),
            models.CheckConstraint(
                name="billing_run_item_outcome_whole",
                condition=Q(outcome="INVOICED", invoice__isnull=False)
                | Q(outcome="NOTHING_DUE", invoice__isnull=True)
                | (Q(outcome="PARKED", invoice__isnull=True) & ~Q(reason="")),
            ),
        ]
        triggers = append_only(name="billing_run_item_append_only")

    def __str__(self) -> str:
        return f"{self.billing_period_id}: {self.outcome}"


# Adjustments have a module of their own; Django finds them from here.
from apps.invoices.adjustment_models import Adjustment, AdjustmentLine  # noqa: E402, F401
