DROP TABLE security_events, throttles, email_tokens, refresh_tokens, sessions, platform_admins, user_orgs, organizations, users;
