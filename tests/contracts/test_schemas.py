"""What the database itself holds, asked of its catalogue and tried past the ORM."""

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from apps.common.db import fetch_all
from tests.contracts.test_models import our_models

# Documents and journals: what may change in them after they count, if anything, is the trigger's business.
GUARDED = {
    "audit.auditentry": "audit_sealed_once",
    "messaging.domainevent": "domain_event_sealed_once",
    "ledger.ledgertransaction": "ledger_transaction_append_only",
    "ledger.posting": "posting_append_only",
    "customers.customer": "customer_fixed",
    "customers.testclock": "test_clock_forward",
    "taxes.taxrate": "tax_rate_append_only",
    "metering.meter": "meter_frozen",
    "metering.eventmapping": "event_mapping_append_only",
    "metering.eventtypepolicy": "event_type_policy_append_only",
    "metering.quarantinedevent": "quarantine_as_it_came",
    "metering.usagecorrection": "usage_correction_asked_fixed",
    "metering.correctedevent": "corrected_event_append_only",
    "metering.correctionbound": "correction_bound_append_only",
    "metering.usageevent": "usage_event_append_only",
    "metering.usageeventkey": "usage_event_key_append_only",
    "metering.sourceheartbeat": "heartbeat_frozen",
    "metering.usageproof": "usage_proof_append_only",
    "metering.usagemending": "usage_mending_append_only",
    "metering.usagecancellation": "usage_cancellation_append_only",
    "metering.usagewindow": "usage_window_fixed",
    "metering.usagelimit": "usage_limit_window_fixed",
    "metering.usagelimitchange": "usage_limit_change_append_only",
    "metering.usagethreshold": "usage_threshold_append_only",
    "plans.planversion": "plan_version_frozen",
    "plans.charge": "charge_frozen",
    "plans.feature": "feature_frozen",
    "plans.cohort": "cohort_fixed",
    "plans.coupon": "coupon_terms_fixed",
    "subscriptions.subscriptionchange": "subscription_change_agreed",
    "subscriptions.applieddiscount": "applied_discount_terms_fixed",
    "subscriptions.priceoverride": "price_override_asked_fixed",
    "subscriptions.billingperiod": "billing_period_terms_fixed",
    "entitlements.entitlement": "entitlement_granted_fixed",
    "entitlements.usagecap": "usage_cap_asked_fixed",
    "entitlements.usagecapagreement": "usage_cap_agreement_append_only",
    "entitlements.accessdecision": "access_decision_fixed",
    "invoices.invoice": "invoice_frozen",
    "invoices.invoiceline": "invoice_line_frozen",
    "invoices.invoicediscount": "invoice_discount_frozen",
    "invoices.invoicetaxline": "invoice_tax_line_frozen",
    "invoices.billingrunitem": "billing_run_item_append_only",
    "invoices.adjustment": "adjustment_made_fixed",
    "invoices.adjustmentline": "adjustment_line_append_only",
    "payments.paymentattempt": "payment_attempt_frozen",
    "api.idempotencyrecord": "idempotency_append_only",
}
# Rows that may change at any time. A new table is guarded or stands here with its reason.
CHANGEABLE = {
    "identity.user": "people change names and leave",
    "identity.rolegrant": "roles are given and withdrawn; the audit trail remembers",
    "identity.apikey": "keys are used, expire and are revoked",
    "identity.portalmembership": "access is given and withdrawn; the audit trail remembers",
    "identity.signinlink": "a link is used once",
    "messaging.outboxmessage": "the relay's book-keeping; the event it carries is guarded",
    "ledger.customersequence": "a counter",
    "metering.usageaggregate": "derived from guarded events, rebuilt and compared",
    "metering.usagesource": "derived from guarded events by the follower; watches, decides no money",
    "metering.sourcehour": "derived from guarded events by the follower; watches, decides no money",
    "metering.unmatchedusage": "derived from guarded events by the follower; watches, decides no money",
    "metering.anomalyrule": "a setting; the audit trail remembers",
    "metering.usagefollower": "how far the follower is (cannot be deleted)",
    "metering.usagenews": "marks that whoever bills takes away",
    "metering.lateusagepolicy": "a setting; the audit trail remembers (cannot be deleted)",
    "metering.lateusage": "machine held by its edges (cannot be deleted)",
    "metering.usagesettings": "a setting; the audit trail remembers (cannot be deleted)",
    "metering.watchpolicy": "a setting; the audit trail remembers (cannot be deleted)",
    "metering.usagealert": "machine held by its edges (cannot be deleted)",
    "metering.usagearchive": "machine held by its edges (cannot be deleted)",
    "metering.usageimport": "book-keeping of a command; what it took in is guarded (cannot be deleted)",
    "metering.usagecounter": "derived from guarded events while its window is watched, moved by their trigger only",
    "entitlements.accessterms": "a version number, moved by triggers; decides nothing by itself",
    "payments.paymentmethod": "methods come and go; attempts copy what they charge (cannot be deleted)",
    "payments.sandboxcharge": "stands for the vendor's database, not ours",
    "notifications.mail": "machine held by its edges; its text is about documents that are guarded",
    "plans.cohortmember": "customers are named and named no more; the audit trail remembers",
    "plans.plan": "the name of an offer; its terms are guarded versions (cannot be deleted)",
    "ledger.ledgeraccount": "the chart; postings to it are guarded (cannot be deleted)",
    "subscriptions.subscription": "machine held by its edges (cannot be deleted)",
    "invoices.billingentity": "the seller as of now; documents copy what they print (cannot be deleted)",
    "invoices.numberseries": "a counter (cannot be deleted)",
    "invoices.billingrun": "machine held by its edges (cannot be deleted)",
    "tenancy.tenant": "provisioning moves it on (cannot be deleted)",
    "tenancy.domain": "host names come and go",
}


def tenant_models():
    """Return the models whose tables live in tenant schemas only."""
    shared = {name.rpartition(".")[2] for name in settings.SHARED_APPS}
    return [model for model in our_models() if model._meta.app_label not in shared]


def tables_in(schema_name: str) -> set[str]:
    """Return the tables of a schema, partitioned ones included."""
    rows = fetch_all(
        """
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p')
        """,
        [schema_name],
    )
    return {name for (name,) in rows}


def triggers_in(schema_name: str) -> set[tuple[str, str]]:
    """Return (table, trigger) of all enabled triggers in a schema, with the package's decoration taken off."""
    rows = fetch_all(
        """
        SELECT c.relname, t.tgname FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgparentid = 0
        """,
        [schema_name],
    )
    return {(table, _as_declared(name)) for table, name in rows}


def _as_declared(name: str) -> str:
    if not name.startswith("pgtrigger_"):
        return name
    return name.removeprefix("pgtrigger_").rpartition("_")[0]


def test_every_table_is_guarded_or_says_why_not() -> None:
    """Nobody adds a table without deciding what may happen to its rows."""
    labels = {model._meta.label_lower for model in our_models()}
    assert labels - set(GUARDED) - set(CHANGEABLE) == set(), "put the table on one of the two lists"
    assert (set(GUARDED) | set(CHANGEABLE)) - labels == set(), "there is no such table any more"
    assert not set(GUARDED) & set(CHANGEABLE)


@pytest.mark.parametrize("label", [label for label, why in CHANGEABLE.items() if "cannot be deleted" in why])
def test_rows_that_are_kept_have_a_trigger_that_keeps_them(label: str) -> None:
    """What the list above says about deletion is what the model declares."""
    model = next(model for model in our_models() if model._meta.label_lower == label)
    assert [trigger.name for trigger in model._meta.triggers if trigger.name.endswith("_kept")]


@pytest.mark.django_db
def test_money_tables_do_not_exist_in_the_shared_schema() -> None:
    """S012: the shared schema holds tenants, hosts and operators only, so a lost context meets an error, not rows."""
    tables = tables_in("public")
    assert "tenancy_tenant" in tables
    assert not tables & {model._meta.db_table for model in tenant_models()}


@pytest.mark.django_db
@pytest.mark.parametrize("schema_name", ["t_alpha", "t_beta"])
def test_every_tenant_has_every_table_and_every_trigger(schema_name: str) -> None:
    """What the models declare is what each tenant's schema holds, not only the first one's."""
    assert {model._meta.db_table for model in tenant_models()} <= tables_in(schema_name)
    installed = triggers_in(schema_name)
    declared = {
        (model._meta.db_table, trigger.name)
        for model in tenant_models()
        for trigger in getattr(model._meta, "triggers", [])
    }
    assert declared <= installed
    by_label = {model._meta.label_lower: model._meta.db_table for model in our_models()}
    assert {(by_label[label], name) for label, name in GUARDED.items()} <= installed


@pytest.mark.parametrize("label", sorted(GUARDED))
def test_guarded_tables_cannot_be_emptied(label: str, tenant: str) -> None:
    """TRUNCATE, which row triggers do not see, is refused under the rule's name, past the ORM."""
    table = next(model._meta.db_table for model in our_models() if model._meta.label_lower == label)
    with pytest.raises(DatabaseError) as refusal, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")
    assert refusal.value.__cause__.sqlstate == "23514"
    assert refusal.value.__cause__.diag.constraint_name


@pytest.mark.django_db
def test_no_trigger_is_deferred() -> None:
    """A deferred trigger runs at commit, when the search path may already be another tenant's (ADR 0015)."""
    deferred = fetch_all("SELECT tgname FROM pg_trigger WHERE tgdeferrable AND NOT tgisinternal")
    assert not deferred
