DROP INDEX record_merges_loser_id_idx;
DROP INDEX documents_file_id_idx;
