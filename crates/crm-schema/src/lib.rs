//! The database's tables as diesel sees them: generated from the migrations (`just schema`), never edited by hand.

#![expect(missing_docs, reason = "columns are documented where they are made: in the migrations")]

diesel::table! {
    attachments (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        record_id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        file_name -> Text,
        content_type -> Text,
        size_bytes -> BigInt,
        sha256 -> Text,
    }
}

diesel::table! {
    changes (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        record_id -> Uuid,
        version -> Nullable<BigInt>,
        action -> Text,
        created_by -> Nullable<Uuid>,
        created_at -> Timestamptz,
        fields -> Jsonb,
    }
}

diesel::table! {
    comment_mentions (org_id, comment_id, membership_id) {
        org_id -> Uuid,
        comment_id -> Uuid,
        membership_id -> Uuid,
    }
}

diesel::table! {
    comments (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        record_id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        comment -> Text,
        is_internal -> Bool,
    }
}

diesel::table! {
    deletions (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        record_id -> Uuid,
        created_by -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    email_tokens (digest) {
        digest -> Text,
        user_id -> Uuid,
        purpose -> Text,
        email_normalized -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    leads (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        title -> Nullable<Text>,
        salutation -> Nullable<Text>,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        email -> Nullable<Text>,
        email_normalized -> Nullable<Text>,
        phone -> Nullable<Text>,
        job_title -> Nullable<Text>,
        website -> Nullable<Text>,
        linkedin_url -> Nullable<Text>,
        company_name -> Nullable<Text>,
        status -> Nullable<Text>,
        source -> Nullable<Text>,
        industry -> Nullable<Text>,
        rating -> Nullable<Text>,
        opportunity_amount -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        probability -> Nullable<Integer>,
        close_date -> Nullable<Date>,
        address_line -> Nullable<Text>,
        city -> Nullable<Text>,
        state -> Nullable<Text>,
        postcode -> Nullable<Text>,
        country -> Nullable<Text>,
        last_contacted -> Nullable<Date>,
        next_follow_up -> Nullable<Date>,
        description -> Nullable<Text>,
        is_active -> Bool,
        is_sample -> Bool,
    }
}

diesel::table! {
    memberships (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        email -> Text,
        email_normalized -> Text,
        role_id -> Uuid,
        state -> Text,
        phone -> Nullable<Text>,
        alternate_phone -> Nullable<Text>,
        has_sales_access -> Bool,
        has_marketing_access -> Bool,
        date_of_joining -> Nullable<Date>,
        invitation_digest -> Nullable<Text>,
        invitation_expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    organizations (id) {
        id -> Uuid,
        version -> BigInt,
        name -> Text,
        is_active -> Bool,
        currency -> Text,
        country -> Nullable<Text>,
        timezone -> Text,
        company_name -> Text,
        address_line -> Text,
        city -> Text,
        state -> Text,
        postcode -> Text,
        phone -> Text,
        email -> Text,
        website -> Text,
        tax_id -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    outbox (id) {
        id -> Uuid,
        org_id -> Nullable<Uuid>,
        kind -> Text,
        payload -> Jsonb,
        attempts -> Integer,
        run_at -> Timestamptz,
        leased_until -> Nullable<Timestamptz>,
        lease -> Nullable<Uuid>,
        last_error -> Nullable<Text>,
        dead_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    platform_admins (user_id) {
        user_id -> Uuid,
        is_superuser -> Bool,
        granted_by -> Text,
        granted_at -> Timestamptz,
    }
}

diesel::table! {
    record_assignees (org_id, record_id, membership_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        membership_id -> Uuid,
    }
}

diesel::table! {
    record_tags (org_id, record_id, tag_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        tag_id -> Uuid,
    }
}

diesel::table! {
    record_teams (org_id, record_id, team_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        team_id -> Uuid,
    }
}

diesel::table! {
    records (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
    }
}

diesel::table! {
    refresh_tokens (jti) {
        jti -> Uuid,
        session_id -> Uuid,
        org_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        spent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    roles (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        name_normalized -> Text,
        description -> Text,
        is_builtin -> Bool,
        grants -> Jsonb,
    }
}

diesel::table! {
    search_documents (org_id, record_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        kind -> Text,
        body -> Text,
    }
}

diesel::table! {
    security_events (id) {
        id -> Uuid,
        event -> Text,
        user_id -> Nullable<Uuid>,
        org_id -> Nullable<Uuid>,
        success -> Bool,
        ip_address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        detail -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        ended_because -> Nullable<Text>,
        ip_address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
    }
}

diesel::table! {
    tags (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        slug -> Text,
        color -> Text,
        description -> Text,
        is_active -> Bool,
    }
}

diesel::table! {
    team_members (org_id, team_id, membership_id) {
        org_id -> Uuid,
        team_id -> Uuid,
        membership_id -> Uuid,
    }
}

diesel::table! {
    teams (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        name_normalized -> Text,
        description -> Text,
    }
}

diesel::table! {
    throttles (key) {
        key -> Text,
        failures -> Integer,
        blocked_until -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    user_orgs (user_id, org_id) {
        user_id -> Uuid,
        org_id -> Uuid,
        joined_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        email -> Text,
        email_normalized -> Text,
        password_hash -> Nullable<Text>,
        name -> Text,
        profile_pic -> Nullable<Text>,
        is_active -> Bool,
        email_verified_at -> Nullable<Timestamptz>,
        last_login_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(attachments, memberships);
diesel::allow_tables_to_appear_in_same_query!(attachments, records);
diesel::allow_tables_to_appear_in_same_query!(changes, memberships);
diesel::allow_tables_to_appear_in_same_query!(changes, records);
diesel::allow_tables_to_appear_in_same_query!(comment_mentions, comments);
diesel::allow_tables_to_appear_in_same_query!(comment_mentions, memberships);
diesel::allow_tables_to_appear_in_same_query!(comments, memberships);
diesel::allow_tables_to_appear_in_same_query!(comments, records);
diesel::allow_tables_to_appear_in_same_query!(deletions, memberships);
diesel::allow_tables_to_appear_in_same_query!(deletions, organizations);
diesel::allow_tables_to_appear_in_same_query!(email_tokens, users);
diesel::allow_tables_to_appear_in_same_query!(leads, memberships);
diesel::allow_tables_to_appear_in_same_query!(leads, records);
diesel::allow_tables_to_appear_in_same_query!(memberships, record_assignees);
diesel::allow_tables_to_appear_in_same_query!(memberships, records);
diesel::allow_tables_to_appear_in_same_query!(memberships, roles);
diesel::allow_tables_to_appear_in_same_query!(memberships, tags);
diesel::allow_tables_to_appear_in_same_query!(memberships, team_members);
diesel::allow_tables_to_appear_in_same_query!(memberships, teams);
diesel::allow_tables_to_appear_in_same_query!(memberships, users);
diesel::allow_tables_to_appear_in_same_query!(organizations, records);
diesel::allow_tables_to_appear_in_same_query!(organizations, refresh_tokens);
diesel::allow_tables_to_appear_in_same_query!(organizations, user_orgs);
diesel::allow_tables_to_appear_in_same_query!(platform_admins, users);
diesel::allow_tables_to_appear_in_same_query!(record_assignees, records);
diesel::allow_tables_to_appear_in_same_query!(record_tags, records);
diesel::allow_tables_to_appear_in_same_query!(record_tags, tags);
diesel::allow_tables_to_appear_in_same_query!(record_teams, records);
diesel::allow_tables_to_appear_in_same_query!(record_teams, teams);
diesel::allow_tables_to_appear_in_same_query!(records, roles);
diesel::allow_tables_to_appear_in_same_query!(records, search_documents);
diesel::allow_tables_to_appear_in_same_query!(records, tags);
diesel::allow_tables_to_appear_in_same_query!(records, teams);
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions);
diesel::allow_tables_to_appear_in_same_query!(sessions, users);
diesel::allow_tables_to_appear_in_same_query!(team_members, teams);
diesel::allow_tables_to_appear_in_same_query!(user_orgs, users);
