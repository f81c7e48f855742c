-- What hangs on one record and is shown at another too: comments and files of a converted lead at its account.
CREATE TABLE record_sources (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    source_id uuid NOT NULL,
    PRIMARY KEY (org_id, record_id, source_id),
    CONSTRAINT record_sources_record_id_fkey FOREIGN KEY (org_id, record_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_sources_source_id_fkey FOREIGN KEY (org_id, source_id) REFERENCES records (org_id, id) ON DELETE CASCADE
);
CREATE INDEX record_sources_source_id_idx ON record_sources (org_id, source_id, record_id);
CALL protect_tenant_table('record_sources', 'SELECT, INSERT, DELETE');

-- What became of a lead.
CREATE TABLE conversions (
    org_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    converted_at timestamptz NOT NULL,
    converted_by uuid,
    account_id uuid,
    contact_id uuid,
    opportunity_id uuid,
    -- Everything that undoing it needs: which of the three were made for it, at which version they were left, what was linked to those
    -- that were there, the lead's status before.
    undo jsonb NOT NULL,
    PRIMARY KEY (org_id, lead_id),
    CONSTRAINT conversions_lead_id_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id) ON DELETE CASCADE,
    CONSTRAINT conversions_account_id_fkey FOREIGN KEY (org_id, account_id) REFERENCES accounts (org_id, id) ON DELETE SET NULL (account_id),
    CONSTRAINT conversions_contact_id_fkey FOREIGN KEY (org_id, contact_id) REFERENCES contacts (org_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT conversions_opportunity_id_fkey FOREIGN KEY (org_id, opportunity_id)
        REFERENCES opportunities (org_id, id) ON DELETE SET NULL (opportunity_id),
    CONSTRAINT conversions_converted_by_fkey FOREIGN KEY (org_id, converted_by) REFERENCES memberships (org_id, id)
);
CREATE INDEX conversions_account_id_idx ON conversions (org_id, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX conversions_contact_id_idx ON conversions (org_id, contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX conversions_opportunity_id_idx ON conversions (org_id, opportunity_id) WHERE opportunity_id IS NOT NULL;
CALL protect_tenant_table('conversions', 'SELECT, INSERT, UPDATE, DELETE');

-- Two records of a kind that were made one. The loser's row waits here; its record and history stay.
CREATE TABLE record_merges (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    winner_id uuid NOT NULL,
    loser_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid,
    undone_at timestamptz,
    undone_by uuid,
    -- The loser's row as it was.
    loser jsonb NOT NULL,
    -- What went from the loser to the winner, by table.
    moved jsonb NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT record_merges_winner_id_fkey FOREIGN KEY (org_id, winner_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_merges_loser_id_fkey FOREIGN KEY (org_id, loser_id) REFERENCES records (org_id, id) ON DELETE CASCADE,
    CONSTRAINT record_merges_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES memberships (org_id, id),
    CONSTRAINT record_merges_undone_by_fkey FOREIGN KEY (org_id, undone_by) REFERENCES memberships (org_id, id)
);
CREATE UNIQUE INDEX record_merges_loser_id_key ON record_merges (org_id, loser_id) WHERE undone_at IS NULL;
CREATE INDEX record_merges_winner_id_idx ON record_merges (org_id, winner_id);
CALL protect_tenant_table('record_merges', 'SELECT, INSERT, UPDATE');

-- A merge moves what hangs on a record.
GRANT UPDATE ON attachments TO crm_app;

ALTER TABLE changes DROP CONSTRAINT changes_action_check, ADD CONSTRAINT changes_action_check CHECK (action IN (
    'created', 'updated', 'commented', 'comment_edited', 'comment_deleted', 'file_added', 'file_deleted',
    'converted', 'unconverted', 'merged', 'unmerged'));

-- A record of the present organization is found no more.
CREATE FUNCTION search_forget(p_record_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM search_documents d
    WHERE d.org_id = nullif(current_setting('app.current_org', true), '')::uuid AND d.record_id = p_record_id;
END
$$;
REVOKE ALL ON FUNCTION search_forget(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_forget(uuid) TO crm_app;

-- The rest of the feed learns of a merge as of a deletion; the record itself stays, with its history.
CREATE FUNCTION record_merged_away(p_org_id uuid, p_id uuid, p_kind text, p_actor_id uuid, p_change_id uuid, p_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO deletions (org_id, id, kind, record_id, created_by, created_at)
    VALUES (p_org_id, p_change_id, p_kind, p_id, p_actor_id, p_at);
    PERFORM search_forget(p_id);
    IF EXISTS (SELECT FROM webhooks w WHERE w.org_id = p_org_id AND w.is_active) THEN
        PERFORM webhooks_tell(p_change_id, p_kind, p_id, 'deleted', NULL, p_actor_id, p_at, '{}');
    END IF;
END
$$;
REVOKE ALL ON FUNCTION record_merged_away(uuid, uuid, text, uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_merged_away(uuid, uuid, text, uuid, uuid, timestamptz) TO crm_app;
