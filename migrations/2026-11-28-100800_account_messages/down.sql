DROP TABLE account_message_recipients, account_messages, mail_senders;
