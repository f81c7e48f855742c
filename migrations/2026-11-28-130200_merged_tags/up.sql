-- A merged tag leads to the one that took its place, while records are still on their way there.
ALTER TABLE tags ADD COLUMN merged_into_id uuid,
    ADD CONSTRAINT tags_merged_into_id_fkey FOREIGN KEY (org_id, merged_into_id) REFERENCES tags (org_id, id) ON DELETE SET NULL (merged_into_id);
CREATE INDEX tags_merged_into_id_idx ON tags (org_id, merged_into_id) WHERE merged_into_id IS NOT NULL;
