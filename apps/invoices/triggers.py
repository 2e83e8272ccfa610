"""The one trigger that is about invoices only."""

import pgtrigger


def adds_up(*, name: str) -> pgtrigger.Trigger:
    """
    Refuse to finalise a document whose lines, taxes and totals disagree, or whose tax is unknown.

    Checked where it matters: at the step from draft to final, after which nothing can change.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        condition=pgtrigger.Q(old__status="DRAFT", new__status="OPEN"),
        declare=[("net", "numeric"), ("tax", "numeric"), ("unknown", "bigint"), ("listed", "numeric")],
        func=f"""
            SELECT coalesce(sum(net_minor), 0), coalesce(sum(tax_minor), 0), count(*) FILTER (WHERE tax_treatment = '')
                INTO net, tax, unknown FROM invoices_invoiceline WHERE invoice_id = NEW.id;
            SELECT coalesce(sum(tax_minor), 0) INTO listed FROM invoices_invoicetaxline WHERE invoice_id = NEW.id;
            IF net <> NEW.subtotal_minor OR tax <> NEW.tax_minor OR listed <> NEW.tax_minor OR unknown > 0 THEN
                RAISE EXCEPTION 'Lines, taxes and totals of invoice % disagree, or a tax is unknown', NEW.id
                    USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
            END IF;
            RETURN NEW;
        """,
    )
