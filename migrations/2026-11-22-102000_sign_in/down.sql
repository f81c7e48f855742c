DROP TABLE sign_in_codes, sign_in_links, oidc_identities, oidc_logins, sign_in_challenges, recovery_codes, totp_factors;
