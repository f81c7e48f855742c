DROP FUNCTION tallies_add(uuid, text, text[], bigint[], bigint[], bigint[]);
DROP TABLE tallies;
