-- What a foreign key looks for when the row it points at goes: the document of a file, every merge of a loser, undone ones too.
CREATE INDEX documents_file_id_idx ON documents (org_id, file_id);
CREATE INDEX record_merges_loser_id_idx ON record_merges (org_id, loser_id);
