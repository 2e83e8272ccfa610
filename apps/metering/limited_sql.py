"""Which customers have limits that refuse events: the set that every intake remembers, and its version.

A batch of customers without such limits must not pay for those who have them. The set is small, grows when a customer
gets the first such limit, and each change of it moves the one version that every batch reads anyway.
"""

CREATE_LIMITED = """
CREATE TABLE metering_limitedcustomer (
    customer_id uuid PRIMARY KEY
);
CREATE TABLE metering_limitedversion (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    version bigint NOT NULL
);
INSERT INTO metering_limitedversion (version) VALUES (1);
CREATE FUNCTION metering_limited_changed() RETURNS trigger LANGUAGE plpgsql AS $changed$
BEGIN
    IF EXISTS (SELECT FROM changed) THEN
        UPDATE metering_limitedversion SET version = version + 1;
    END IF;
    RETURN NULL;
END
$changed$;
CREATE TRIGGER limited_customer_more AFTER INSERT ON metering_limitedcustomer
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION metering_limited_changed();
CREATE TRIGGER limited_customer_less AFTER DELETE ON metering_limitedcustomer
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION metering_limited_changed();
"""
DROP_LIMITED = """
DROP TABLE metering_limitedcustomer;
DROP TABLE metering_limitedversion;
DROP FUNCTION metering_limited_changed();
"""

LIMITED_READ = "SELECT customer_id FROM metering_limitedcustomer"
LIMITED_VERSION = "SELECT version FROM metering_limitedversion"
LIMITED_ADD = """
INSERT INTO metering_limitedcustomer (customer_id) SELECT unnest(%s::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING
"""
