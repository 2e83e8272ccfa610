"""The triggers that are about invoices only."""

import pgtrigger

from apps.common.triggers import no_truncate


def adds_up(*, name: str) -> pgtrigger.Trigger:
    """
    Refuse to finalise a document whose lines, discounts, taxes and totals disagree, or whose tax is unknown.

    Checked where it matters: at the step from draft to final, after which nothing can change.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        condition=pgtrigger.Q(old__status="DRAFT", new__status="OPEN"),
        declare=[
            ("net", "numeric"),
            ("discount", "numeric"),
            ("tax", "numeric"),
            ("unknown", "bigint"),
            ("tax_listed", "numeric"),
            ("discount_listed", "numeric"),
        ],
        func=f"""
            SELECT coalesce(sum(net_minor), 0), coalesce(sum(discount_minor), 0), coalesce(sum(tax_minor), 0),
                   count(*) FILTER (WHERE tax_treatment = '')
                INTO net, discount, tax, unknown FROM invoices_invoiceline WHERE invoice_id = NEW.id;
            SELECT coalesce(sum(tax_minor), 0) INTO tax_listed FROM invoices_invoicetaxline WHERE invoice_id = NEW.id;
            SELECT coalesce(sum(amount_minor), 0) INTO discount_listed
                FROM invoices_invoicediscount WHERE invoice_id = NEW.id;
            IF net - discount <> NEW.subtotal_minor
                OR discount <> NEW.discount_minor OR discount_listed <> NEW.discount_minor
                OR tax <> NEW.tax_minor OR tax_listed <> NEW.tax_minor OR unknown > 0
            THEN
                RAISE EXCEPTION 'Lines, discounts, taxes and totals of invoice % disagree, or a tax is unknown', NEW.id
                    USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
            END IF;
            RETURN NEW;
        """,
    )


def uses_given_back(*, name: str) -> pgtrigger.Trigger:
    """
    Free the uses of discounts when their document dies.

    Done here and not by services, so that no way to void or discard a document can forget it.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf("status"),
        condition=pgtrigger.Q(new__status__in=["VOID", "DISCARDED"]),
        func="""
            UPDATE invoices_invoicediscount SET is_counted = false WHERE invoice_id = NEW.id AND is_counted;
            RETURN NULL;
        """,
    )


def adjustments_given_back(*, name: str) -> pgtrigger.Trigger:
    """
    Free the adjustments that stand on a draft when it is dropped: they are for the next document then.

    Done here and not by services, so that no way to discard a document can forget it.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf("status"),
        condition=pgtrigger.Q(new__status="DISCARDED"),
        func="""
            UPDATE invoices_adjustment SET invoice_id = NULL WHERE invoice_id = NEW.id AND status = 'APPROVED';
            RETURN NULL;
        """,
    )


def discount_frozen(*, name: str) -> list[pgtrigger.Trigger]:
    """
    Let discounts of a document be written only while it is a draft; later nothing changes but that a use is freed.

    A use is freed once, and only on a document that is void or discarded. A parent that is not there yet is left to
    the foreign key.
    """
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
            declare=[("parent_id", "uuid"), ("parent_status", "text")],
            func=f"""
                parent_id := CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
                SELECT status INTO parent_status FROM invoices_invoice WHERE id = parent_id;
                IF TG_OP = 'UPDATE' THEN
                    IF parent_status NOT IN ('VOID', 'DISCARDED') OR NOT OLD.is_counted OR NEW.is_counted
                        OR (to_jsonb(NEW) - 'is_counted') IS DISTINCT FROM (to_jsonb(OLD) - 'is_counted')
                    THEN
                        RAISE EXCEPTION 'A discount of a document is frozen; its use is freed when the document dies'
                            USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
                    END IF;
                    RETURN NEW;
                END IF;
                IF coalesce(parent_status, 'DRAFT') <> 'DRAFT' THEN
                    RAISE EXCEPTION 'The document % these discounts belong to is issued', parent_id
                        USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
                END IF;
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            """,
        ),
        no_truncate(name=f"{name}_truncate"),
    ]
