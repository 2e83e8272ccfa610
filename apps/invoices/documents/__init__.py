"""Papers made from frozen documents: the PDF now, e-invoices later. Each is a pure function of the snapshot."""
