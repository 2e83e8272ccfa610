"""Whose limits are to be made: terms that moved since, and windows that have no limit yet."""

TERMS_ENSURE = """
INSERT INTO entitlements_accessterms (customer_id, version, made_version)
SELECT unnest(%s::uuid[]), 1, 0 ORDER BY 1 ON CONFLICT DO NOTHING
"""

_HAS_NO_LIMIT = """
    NOT EXISTS (SELECT FROM metering_usagelimit l
                WHERE l.source_id = {source} AND l.subscription_id = p.subscription_id AND l.withdrawn_at IS NULL
                  AND l.starts_at = p.starts_at AND l.ends_at = p.ends_at {more})
"""

# Periods of which a feature's limit, or a cap, has no row yet.
_UNMADE = f"""
    SELECT s.customer_id, p.starts_at, p.ends_at
    FROM subscriptions_billingperiod p JOIN subscriptions_subscription s ON s.id = p.subscription_id
    JOIN plans_feature f ON f.plan_version_id = p.plan_version_id
         AND f.is_granted AND f.meter_id IS NOT NULL AND f.limit_units IS NOT NULL
    WHERE p.kind <> 'FROZEN'
      AND {_HAS_NO_LIMIT.format(source="p.plan_version_id", more="AND l.feature_code = f.code")}
    UNION ALL
    SELECT s.customer_id, p.starts_at, p.ends_at
    FROM entitlements_usagecap k JOIN subscriptions_billingperiod p ON p.subscription_id = k.subscription_id
    JOIN subscriptions_subscription s ON s.id = p.subscription_id
    WHERE (k.withdrawn_at IS NULL OR p.ends_at <= k.withdrawn_at) AND p.kind <> 'FROZEN' AND p.ends_at > k.asked_at
      AND {_HAS_NO_LIMIT.format(source="k.id", more="")}
"""

# What is granted begins and ends by the customer's own clock, which for one on a test clock is not ours.
_NOW = "coalesce((SELECT k.now_at FROM customers_testclock k WHERE k.id = o.test_clock_id), %(at)s)"

LIMITS_MISSING = f"""
SELECT t.customer_id FROM entitlements_accessterms t JOIN customers_customer o ON o.id = t.customer_id
WHERE t.customer_id = ANY(%(customers)s::uuid[])
  AND (t.made_version <> t.version OR t.made_until_at <= {_NOW}
       OR EXISTS (SELECT FROM ({_UNMADE}) u
                  WHERE u.customer_id = t.customer_id AND u.starts_at <= %(last)s AND u.ends_at > %(first)s))
"""

LIMITS_DUE = f"""
SELECT t.customer_id FROM entitlements_accessterms t JOIN customers_customer o ON o.id = t.customer_id
WHERE t.customer_id > %(after)s
  AND (t.made_version <> t.version OR t.made_until_at <= {_NOW}
       OR EXISTS (SELECT FROM ({_UNMADE}) u
                  WHERE u.customer_id = t.customer_id AND u.ends_at > %(at)s AND u.starts_at <= %(until)s))
ORDER BY t.customer_id LIMIT %(limit)s
"""
