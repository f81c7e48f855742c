DROP TABLE mail_suppressions, account_mails, mails;
