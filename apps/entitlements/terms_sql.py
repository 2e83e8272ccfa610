"""What moves the version of a customer's terms: every row that says what a customer may do, whoever writes it.

A trigger, because a change that forgot to say so would be an answer that is wrong for minutes. Each moves one row of
one customer; there is no row that all customers share, so billing many customers at once waits for nobody.
"""

_BUMP = """
    INSERT INTO entitlements_accessterms AS t (customer_id, version, made_version) VALUES (whose, 1, 0)
    ON CONFLICT (customer_id) DO UPDATE SET version = t.version + 1;
"""
# A customer on terms that refuse events is looked at by every intake; see metering/limited_sql.py.
_LIMITED = """
    INSERT INTO metering_limitedcustomer (customer_id) VALUES (whose) ON CONFLICT DO NOTHING;
"""
REFUSES = """
    f.on_exceed = 'reject' AND f.meter_id IS NOT NULL AND f.limit_units IS NOT NULL
"""

CREATE_TERMS = f"""
CREATE FUNCTION entitlements_period_changed() RETURNS trigger LANGUAGE plpgsql AS $changed$
DECLARE whose uuid;
BEGIN
    SELECT s.customer_id INTO whose FROM subscriptions_subscription s WHERE s.id = NEW.subscription_id;
    {_BUMP}
    IF EXISTS (SELECT FROM plans_feature f WHERE f.plan_version_id = NEW.plan_version_id AND {REFUSES}) THEN
        {_LIMITED}
    END IF;
    RETURN NULL;
END
$changed$;
CREATE TRIGGER entitlements_period_changed AFTER INSERT OR UPDATE OF plan_version_id, kind, starts_at, ends_at,
    full_starts_at, full_ends_at, proration_mode ON subscriptions_billingperiod
    FOR EACH ROW EXECUTE FUNCTION entitlements_period_changed();

CREATE FUNCTION entitlements_grant_changed() RETURNS trigger LANGUAGE plpgsql AS $changed$
DECLARE whose uuid := NEW.customer_id;
BEGIN
    {_BUMP}
    RETURN NULL;
END
$changed$;
CREATE TRIGGER entitlements_subscription_changed AFTER UPDATE OF status, quantity, plan_version_id
    ON subscriptions_subscription FOR EACH ROW EXECUTE FUNCTION entitlements_grant_changed();
CREATE TRIGGER entitlements_grant_changed AFTER INSERT OR UPDATE ON entitlements_entitlement
    FOR EACH ROW EXECUTE FUNCTION entitlements_grant_changed();

CREATE FUNCTION entitlements_cap_changed() RETURNS trigger LANGUAGE plpgsql AS $changed$
DECLARE whose uuid := NEW.customer_id;
BEGIN
    {_BUMP}
    IF NEW.kind IN ('soft', 'hard') THEN
        {_LIMITED}
    END IF;
    RETURN NULL;
END
$changed$;
CREATE TRIGGER entitlements_cap_changed AFTER INSERT OR UPDATE ON entitlements_usagecap
    FOR EACH ROW EXECUTE FUNCTION entitlements_cap_changed();

CREATE FUNCTION entitlements_agreement_made() RETURNS trigger LANGUAGE plpgsql AS $changed$
DECLARE whose uuid;
BEGIN
    SELECT c.customer_id INTO whose FROM entitlements_usagecap c WHERE c.id = NEW.cap_id;
    {_BUMP}
    RETURN NULL;
END
$changed$;
CREATE TRIGGER entitlements_agreement_made AFTER INSERT ON entitlements_usagecapagreement
    FOR EACH ROW EXECUTE FUNCTION entitlements_agreement_made();

INSERT INTO entitlements_accessterms (customer_id, version, made_version)
SELECT DISTINCT customer_id, 1, 0 FROM subscriptions_subscription;
INSERT INTO metering_limitedcustomer (customer_id)
SELECT DISTINCT s.customer_id FROM subscriptions_subscription s
JOIN subscriptions_billingperiod p ON p.subscription_id = s.id
JOIN plans_feature f ON f.plan_version_id = p.plan_version_id AND {REFUSES};
"""

DROP_TERMS = """
DROP TRIGGER entitlements_period_changed ON subscriptions_billingperiod;
DROP TRIGGER entitlements_subscription_changed ON subscriptions_subscription;
DROP TRIGGER entitlements_grant_changed ON entitlements_entitlement;
DROP TRIGGER entitlements_cap_changed ON entitlements_usagecap;
DROP TRIGGER entitlements_agreement_made ON entitlements_usagecapagreement;
DROP FUNCTION entitlements_period_changed();
DROP FUNCTION entitlements_grant_changed();
DROP FUNCTION entitlements_cap_changed();
DROP FUNCTION entitlements_agreement_made();
"""
