DROP TABLE record_contacts, contacts, accounts;
