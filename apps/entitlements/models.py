"""What a customer may do beside and below the plan: grants, caps of its own, and the record of what was decided."""

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.common.fields import QuantityField
from apps.common.models import Entity
from apps.common.triggers import append_only, fixed_columns, no_truncate, undeletable
from apps.customers.models import Customer
from apps.metering.models import Meter
from apps.subscriptions.models import Subscription


class Entitlement(Entity):
    """
    A grant beside the plan: a feature switched on or off, or more units of it, from one instant until another.

    `grant_key` names what it was given for, so that the same order, ticket or event grants once.
    """

    id_prefix = "grt"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="entitlements")
    feature_code = models.CharField(max_length=60)
    is_granted = models.BooleanField(default=True, help_text="Off takes the feature away, whatever the plan says.")
    extra_units = QuantityField(null=True, blank=True, help_text="Added to the plan's limit. Empty: a switch.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is revoked.")
    grant_key = models.CharField(max_length=200, unique=True, help_text="What it is given for; once.")
    comment = models.CharField(max_length=500, blank=True)
    granted_by_name = models.CharField(max_length=200)
    granted_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="entitlement_has_length", condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at"))
            ),
            models.CheckConstraint(name="entitlement_key_given", condition=~Q(grant_key="")),
            models.CheckConstraint(name="entitlement_feature_given", condition=~Q(feature_code="")),
            models.CheckConstraint(
                name="entitlement_units_are_granted",
                condition=Q(extra_units__isnull=True) | Q(extra_units__gt=0, is_granted=True),
            ),
            models.CheckConstraint(
                name="entitlement_revoked_by_somebody",
                condition=Q(revoked_at__isnull=True, revoked_by_name="")
                | (Q(revoked_at__isnull=False) & ~Q(revoked_by_name="")),
            ),
        ]
        indexes = [models.Index(fields=["customer", "feature_code"], name="entitlement_customer")]
        triggers = [
            *fixed_columns(
                name="entitlement_granted_fixed",
                columns=(
                    "customer_id",
                    "feature_code",
                    "is_granted",
                    "extra_units",
                    "starts_at",
                    "ends_at",
                    "grant_key",
                    "granted_at",
                ),
            ),
            *undeletable(name="entitlement_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.feature_code} for {self.customer}"


class CapKind(models.TextChoices):
    """How firmly a customer's cap holds."""

    ALERT = "alert", "Alert: somebody is told, usage goes on"
    SOFT = "soft", "Soft cap: usage stops until the approver agrees to more"
    HARD = "hard", "Hard cap: usage stops"


class UsageCap(Entity):
    """A line that a customer draws for itself: how much of a meter may be used in each period of a subscription."""

    id_prefix = "cap"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="usage_caps")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="usage_caps")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="caps")
    kind = models.CharField(max_length=5, choices=CapKind)
    cap_units = QuantityField(validators=[MinValueValidator(0)])
    approver_email = models.EmailField(max_length=254, blank=True, help_text="Who may agree to use above a soft cap.")
    asked_by = models.UUIDField(null=True, help_text="The person's id; empty when no person asked.")
    asked_by_name = models.CharField(max_length=200)
    asked_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="usage_cap_kind_known", condition=Q(kind__in=CapKind.values)),
            models.CheckConstraint(name="usage_cap_not_negative", condition=Q(cap_units__gte=0)),
            models.CheckConstraint(
                name="usage_cap_soft_has_approver",
                condition=(Q(kind="soft") & ~Q(approver_email="")) | (~Q(kind="soft") & Q(approver_email="")),
            ),
            models.UniqueConstraint(
                fields=["subscription", "meter", "kind"],
                condition=Q(withdrawn_at__isnull=True),
                name="usage_cap_one_of_a_kind",
            ),
        ]
        indexes = [models.Index(fields=["customer"], name="usage_cap_customer")]
        triggers = [
            *fixed_columns(
                name="usage_cap_asked_fixed",
                columns=(
                    "customer_id",
                    "subscription_id",
                    "meter_id",
                    "kind",
                    "cap_units",
                    "approver_email",
                    "asked_by",
                    "asked_at",
                ),
            ),
            *undeletable(name="usage_cap_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.cap_units.normalize():f}"


class UsageCapAgreement(Entity):
    """The approver's word that use above a soft cap is accepted until the window ends; the next window asks again."""

    id_prefix = "cag"

    cap = models.ForeignKey(UsageCap, on_delete=models.PROTECT, related_name="agreements")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    asked_by = models.UUIDField(null=True, help_text="Who set the cap.")
    agreed_by = models.UUIDField()
    agreed_by_name = models.CharField(max_length=200)
    agreed_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["cap", "starts_at", "ends_at"], name="usage_cap_agreed_once"),
            models.CheckConstraint(
                name="usage_cap_agreed_by_another",
                condition=Q(asked_by__isnull=True) | ~Q(agreed_by=F("asked_by")),
            ),
            models.CheckConstraint(name="usage_cap_agreement_has_length", condition=Q(starts_at__lt=F("ends_at"))),
        ]
        triggers = append_only(name="usage_cap_agreement_append_only")

    def __str__(self) -> str:
        return f"{self.agreed_by_name} until {self.ends_at.isoformat()}"


class AccessTerms(models.Model):
    """
    The version of what a customer may do: one row, moved by triggers whenever a period, a grant or a cap changes.

    What is remembered elsewhere is right as long as it has this version. `made_version` and `made_until_at` say for
    which version, and until when, the customer's limits were made.
    """

    customer_id = models.UUIDField(primary_key=True)
    version = models.BigIntegerField(default=1)
    made_version = models.BigIntegerField(default=0)
    made_until_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "access terms"

    def __str__(self) -> str:
        return f"{self.customer_id} v{self.version}"


class DecisionOccasion(models.TextChoices):
    """Who asked."""

    CHECK = "check", "Check: a caller asked before acting"
    INTAKE = "intake", "Intake: an event came in"


class AccessDecision(Entity):
    """One answer to "may he": every refusal and a sample of the rest, with all that it was decided from."""

    id_prefix = "acd"

    decided_at = models.DateTimeField()
    occasion = models.CharField(max_length=6, choices=DecisionOccasion)
    customer_id = models.UUIDField()
    feature_code = models.CharField(max_length=60)
    is_allowed = models.BooleanField()
    reason = models.CharField(max_length=40)
    policy = models.CharField(max_length=8, blank=True, help_text="Of the limit that decided.")
    limit_units = QuantityField(null=True)
    used_units = QuantityField(null=True)
    asked_units = QuantityField(null=True)
    plan_version_id = models.UUIDField(null=True)
    limit_id = models.UUIDField(null=True)
    counter_id = models.UUIDField(null=True)
    event_source = models.CharField(max_length=255, blank=True)
    event_id = models.CharField(max_length=255, blank=True)
    question = models.JSONField(encoder=DjangoJSONEncoder, help_text="All that was looked at, to decide it again.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="access_decision_occasion_known", condition=Q(occasion__in=["check", "intake"]))
        ]
        indexes = [
            models.Index(fields=["customer_id", "-decided_at"], name="access_decision_customer"),
            models.Index(fields=["decided_at"], name="access_decision_age"),
        ]
        # Old ones are pruned; what is there is what was decided.
        triggers = [
            *fixed_columns(
                name="access_decision_fixed",
                columns=(
                    "decided_at",
                    "occasion",
                    "customer_id",
                    "feature_code",
                    "is_allowed",
                    "reason",
                    "policy",
                    "limit_units",
                    "used_units",
                    "asked_units",
                    "plan_version_id",
                    "limit_id",
                    "counter_id",
                    "event_source",
                    "event_id",
                    "question",
                ),
            ),
            no_truncate(name="access_decision_truncate"),
        ]

    def __str__(self) -> str:
        return f"{self.feature_code}: {self.reason}"
