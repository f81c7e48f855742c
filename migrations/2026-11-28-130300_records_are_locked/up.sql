-- A merge locks the records it takes together, and whoever hangs something on one keeps it from that meanwhile. PostgreSQL lets those lock
-- a row who may update a column of it; nobody updates this one.
GRANT UPDATE (kind) ON records TO crm_app;
