"""What the terms of the intake need of the database beside their own tables."""

# The transaction that wrote a version: it is a part of the version of the terms, as that of meters is.
ADD_POLICY_XID = """
ALTER TABLE metering_eventtypepolicy ADD COLUMN defined_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
"""
DROP_POLICY_XID = "ALTER TABLE metering_eventtypepolicy DROP COLUMN defined_xid;"

# Keys come in the order in which they are received, so this costs next to nothing, and the purge need not read all.
CREATE_KEY_AGE = """
CREATE INDEX metering_usageeventkey_received ON metering_usageeventkey USING brin (received_at);
"""
DROP_KEY_AGE = "DROP INDEX metering_usageeventkey_received;"

# A tenant that limits how long an id is known lets exactly two things happen to a key, and only once the window is
# over: it is taken by the event that comes under it then, or it is taken away by the purge, which says how far it goes.
# Without a window, nothing.
KEYS_MAY_EXPIRE = """
CREATE FUNCTION metering_refuse_key_change() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
    known interval;
    forgotten timestamptz;
BEGIN
    SELECT make_interval(hours => dedup_window_hours), keys_forgotten_until INTO known, forgotten
    FROM metering_usagesettings;
    IF TG_OP = 'DELETE' AND OLD.received_at <= forgotten THEN
        RETURN OLD;
    ELSIF TG_OP = 'UPDATE' AND NEW.event_key = OLD.event_key AND OLD.received_at <= NEW.received_at - known THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'Usage events only grow: correct by adding (table %)', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_event_append_only';
END
$guard$;
DROP TRIGGER usage_event_key_append_only ON metering_usageeventkey;
CREATE TRIGGER usage_event_key_append_only BEFORE UPDATE OR DELETE ON metering_usageeventkey
    FOR EACH ROW EXECUTE FUNCTION metering_refuse_key_change();
"""
KEYS_NEVER_EXPIRE = """
DROP TRIGGER usage_event_key_append_only ON metering_usageeventkey;
CREATE TRIGGER usage_event_key_append_only BEFORE UPDATE OR DELETE ON metering_usageeventkey
    FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
DROP FUNCTION metering_refuse_key_change();
"""
