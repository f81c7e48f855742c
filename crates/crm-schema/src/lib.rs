//! The database's tables as diesel sees them: generated from the migrations (`just schema`), never edited by hand.

#![expect(missing_docs, reason = "columns are documented where they are made: in the migrations")]

diesel::table! {
    access_tokens (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Uuid,
        name -> Text,
        digest -> Text,
        token_prefix -> Text,
        scopes -> Jsonb,
        expires_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
        last_used_ip -> Nullable<Text>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    account_idempotency_keys (scope, key) {
        scope -> Text,
        key -> Text,
        fingerprint -> Text,
        answer -> Nullable<Text>,
        claimed_at -> Timestamptz,
    }
}

diesel::table! {
    account_mails (id) {
        id -> Uuid,
        created_at -> Timestamptz,
        to_address -> Text,
        to_normalized -> Text,
        template -> Text,
        data -> Jsonb,
        state -> Text,
        attempts -> Integer,
        last_error -> Nullable<Text>,
        subject -> Nullable<Text>,
        message_id -> Nullable<Text>,
        sent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    account_message_recipients (org_id, message_id, contact_id) {
        org_id -> Uuid,
        message_id -> Uuid,
        contact_id -> Uuid,
        email -> Nullable<Text>,
        mail_id -> Nullable<Uuid>,
        skipped_reason -> Nullable<Text>,
    }
}

diesel::table! {
    account_messages (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        account_id -> Uuid,
        from_email -> Text,
        message_subject -> Text,
        message_body -> Text,
        timezone -> Text,
        send_at -> Timestamptz,
        is_scheduled -> Bool,
        state -> Text,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    accounts (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        name_normalized -> Text,
        email -> Nullable<Text>,
        email_normalized -> Nullable<Text>,
        phone -> Nullable<Text>,
        phone_normalized -> Nullable<Text>,
        website -> Nullable<Text>,
        domain -> Nullable<Text>,
        industry -> Nullable<Text>,
        number_of_employees -> Nullable<Integer>,
        annual_revenue -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        address_line -> Nullable<Text>,
        city -> Nullable<Text>,
        state -> Nullable<Text>,
        postcode -> Nullable<Text>,
        country -> Nullable<Text>,
        description -> Nullable<Text>,
        is_active -> Bool,
        is_sample -> Bool,
        custom_fields -> Jsonb,
    }
}

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
    board_cards (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        board_id -> Uuid,
        column_id -> Uuid,
        title -> Text,
        description -> Nullable<Text>,
        priority -> Text,
        position -> Text,
        due_date -> Nullable<Timestamptz>,
        completed_at -> Nullable<Timestamptz>,
        archived_at -> Nullable<Timestamptz>,
        account_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        opportunity_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    board_columns (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        board_id -> Uuid,
        name -> Text,
        name_normalized -> Text,
        position -> Text,
        color -> Text,
        wip_limit -> Nullable<Integer>,
    }
}

diesel::table! {
    board_members (org_id, board_id, membership_id) {
        org_id -> Uuid,
        board_id -> Uuid,
        membership_id -> Uuid,
        role -> Text,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
    }
}

diesel::table! {
    boards (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        description -> Nullable<Text>,
        is_archived -> Bool,
        revision -> BigInt,
    }
}

diesel::table! {
    business_calendars (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        name_normalized -> Text,
        timezone -> Text,
        is_default -> Bool,
        monday_open -> Nullable<Integer>,
        monday_close -> Nullable<Integer>,
        tuesday_open -> Nullable<Integer>,
        tuesday_close -> Nullable<Integer>,
        wednesday_open -> Nullable<Integer>,
        wednesday_close -> Nullable<Integer>,
        thursday_open -> Nullable<Integer>,
        thursday_close -> Nullable<Integer>,
        friday_open -> Nullable<Integer>,
        friday_close -> Nullable<Integer>,
        saturday_open -> Nullable<Integer>,
        saturday_close -> Nullable<Integer>,
        sunday_open -> Nullable<Integer>,
        sunday_close -> Nullable<Integer>,
    }
}

diesel::table! {
    business_holidays (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        calendar_id -> Uuid,
        date -> Date,
        name -> Text,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
    }
}

diesel::table! {
    case_pipelines (org_id, id) {
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
        is_default -> Bool,
        is_active -> Bool,
    }
}

diesel::table! {
    case_solutions (org_id, case_id, solution_id) {
        org_id -> Uuid,
        case_id -> Uuid,
        solution_id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
    }
}

diesel::table! {
    case_stages (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        pipeline_id -> Uuid,
        name -> Text,
        name_normalized -> Text,
        sort_order -> Integer,
        color -> Text,
        stage_type -> Text,
        maps_to_status -> Nullable<Text>,
        wip_limit -> Nullable<Integer>,
    }
}

diesel::table! {
    cases (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        number -> BigInt,
        name -> Text,
        name_normalized -> Text,
        status -> Text,
        priority -> Text,
        case_type -> Nullable<Text>,
        description -> Nullable<Text>,
        account_id -> Nullable<Uuid>,
        parent_id -> Nullable<Uuid>,
        is_problem -> Bool,
        stage_id -> Nullable<Uuid>,
        position -> Text,
        closed_on -> Nullable<Date>,
        resolved_at -> Nullable<Timestamptz>,
        first_response_at -> Nullable<Timestamptz>,
        sla_first_response_hours -> Integer,
        sla_resolution_hours -> Integer,
        first_response_sla_deadline -> Timestamptz,
        resolution_sla_deadline -> Timestamptz,
        sla_paused_at -> Nullable<Timestamptz>,
        sla_paused_seconds -> BigInt,
        first_response_breached_at -> Nullable<Timestamptz>,
        resolution_breached_at -> Nullable<Timestamptz>,
        escalation_count -> Integer,
        last_escalation_fired_at -> Nullable<Timestamptz>,
        reopen_count -> Integer,
        reopened_at -> Nullable<Timestamptz>,
        is_active -> Bool,
        is_sample -> Bool,
        custom_fields -> Jsonb,
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
        tx -> BigInt,
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
    contacts (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        first_name -> Text,
        last_name -> Text,
        name_normalized -> Text,
        email -> Nullable<Text>,
        email_normalized -> Nullable<Text>,
        phone -> Nullable<Text>,
        phone_normalized -> Nullable<Text>,
        organization -> Nullable<Text>,
        title -> Nullable<Text>,
        department -> Nullable<Text>,
        do_not_call -> Bool,
        linkedin_url -> Nullable<Text>,
        address_line -> Nullable<Text>,
        city -> Nullable<Text>,
        state -> Nullable<Text>,
        postcode -> Nullable<Text>,
        country -> Nullable<Text>,
        description -> Nullable<Text>,
        account_id -> Nullable<Uuid>,
        is_active -> Bool,
        is_sample -> Bool,
        auto_created -> Bool,
        custom_fields -> Jsonb,
    }
}

diesel::table! {
    conversions (org_id, lead_id) {
        org_id -> Uuid,
        lead_id -> Uuid,
        converted_at -> Timestamptz,
        converted_by -> Nullable<Uuid>,
        account_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        opportunity_id -> Nullable<Uuid>,
        undo -> Jsonb,
    }
}

diesel::table! {
    custom_fields (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        target -> Text,
        key -> Text,
        label -> Text,
        field_type -> Text,
        options -> Nullable<Jsonb>,
        is_required -> Bool,
        is_filterable -> Bool,
        display_order -> Integer,
        is_active -> Bool,
        backfill_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    custom_values (org_id, definition_id, record_id) {
        org_id -> Uuid,
        definition_id -> Uuid,
        record_id -> Uuid,
        text_value -> Nullable<Text>,
        number_rank -> Nullable<BigInt>,
        date_value -> Nullable<Date>,
        bool_value -> Nullable<Bool>,
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
        tx -> BigInt,
    }
}

diesel::table! {
    documents (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        title -> Text,
        title_normalized -> Text,
        status -> Text,
        file_id -> Uuid,
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
    escalation_policies (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        priority -> Text,
        first_response_action -> Text,
        first_response_target_id -> Nullable<Uuid>,
        resolution_action -> Text,
        resolution_target_id -> Nullable<Uuid>,
        notify_team_id -> Nullable<Uuid>,
        is_active -> Bool,
    }
}

diesel::table! {
    event_attendees (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        event_id -> Uuid,
        membership_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        response -> Text,
        responded_at -> Nullable<Timestamptz>,
        responded_sequence -> Nullable<Integer>,
        comment -> Nullable<Text>,
        invited_email -> Nullable<Text>,
        invited_sequence -> Nullable<Integer>,
        reply_digest -> Nullable<Text>,
    }
}

diesel::table! {
    event_feeds (org_id, membership_id) {
        org_id -> Uuid,
        membership_id -> Uuid,
        key_digest -> Text,
        created_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    events (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        status -> Nullable<Text>,
        description -> Nullable<Text>,
        location -> Nullable<Text>,
        starts_at -> Timestamptz,
        ends_at -> Timestamptz,
        all_day -> Bool,
        timezone -> Text,
        rrule -> Nullable<Text>,
        exdates -> Jsonb,
        last_ends_at -> Timestamptz,
        series_id -> Nullable<Uuid>,
        recurrence_id -> Nullable<Timestamptz>,
        uid -> Text,
        sequence -> Integer,
        organizer_email -> Nullable<Text>,
        is_active -> Bool,
    }
}

diesel::table! {
    feed_epoch (id) {
        id -> Bool,
        epoch -> BigInt,
        place -> Text,
    }
}

diesel::table! {
    idempotency_keys (org_id, membership_id, key) {
        org_id -> Uuid,
        membership_id -> Uuid,
        key -> Text,
        fingerprint -> Text,
        answer -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    import_rows (org_id, import_id, row_number) {
        org_id -> Uuid,
        import_id -> Uuid,
        row_number -> Integer,
        outcome -> Text,
        record_id -> Nullable<Uuid>,
        record_version -> Nullable<BigInt>,
        before -> Nullable<Jsonb>,
        errors -> Nullable<Jsonb>,
        cells -> Nullable<Jsonb>,
    }
}

diesel::table! {
    imports (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        module -> Text,
        file_id -> Uuid,
        state -> Text,
        mode -> Text,
        duplicates -> Text,
        options -> Jsonb,
        total_rows -> Integer,
        done_rows -> Integer,
        created_rows -> Integer,
        updated_rows -> Integer,
        skipped_rows -> Integer,
        failed_rows -> Integer,
        undone_rows -> Integer,
        kept_rows -> Integer,
        error -> Nullable<Text>,
        started_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    job_schedules (name) {
        name -> Text,
        cron -> Text,
        next_at -> Timestamptz,
        fired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    jobs (id) {
        id -> Uuid,
        org_id -> Nullable<Uuid>,
        lane -> Uuid,
        kind -> Text,
        payload -> Jsonb,
        key -> Nullable<Text>,
        priority -> Integer,
        state -> Text,
        run_at -> Timestamptz,
        lease -> Nullable<Uuid>,
        attempts -> Integer,
        last_error -> Nullable<Text>,
        dead_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    lead_pipelines (org_id, id) {
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
        is_default -> Bool,
        is_active -> Bool,
    }
}

diesel::table! {
    lead_stages (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        pipeline_id -> Uuid,
        name -> Text,
        name_normalized -> Text,
        sort_order -> Integer,
        color -> Text,
        stage_type -> Text,
        maps_to_status -> Nullable<Text>,
        win_probability -> Integer,
        wip_limit -> Nullable<Integer>,
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
        custom_fields -> Jsonb,
        stage_id -> Nullable<Uuid>,
        position -> Text,
    }
}

diesel::table! {
    mail_senders (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        email -> Text,
        email_normalized -> Text,
        name -> Text,
        code_digest -> Nullable<Text>,
        code_expires_at -> Nullable<Timestamptz>,
        attempts -> Integer,
        verified_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    mail_suppressions (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        kind -> Text,
        value -> Text,
        reason -> Text,
    }
}

diesel::table! {
    mails (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        to_address -> Text,
        to_normalized -> Text,
        template -> Text,
        data -> Jsonb,
        state -> Text,
        attempts -> Integer,
        last_error -> Nullable<Text>,
        subject -> Nullable<Text>,
        message_id -> Nullable<Text>,
        sent_at -> Nullable<Timestamptz>,
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
    notification_preferences (org_id, membership_id) {
        org_id -> Uuid,
        membership_id -> Uuid,
        verbs -> Jsonb,
        digest -> Text,
        digest_hour -> Integer,
        digested_at -> Timestamptz,
        digested_to -> Uuid,
    }
}

diesel::table! {
    notifications (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        recipient_id -> Uuid,
        verb -> Text,
        event_id -> Uuid,
        kind -> Nullable<Text>,
        record_id -> Nullable<Uuid>,
        comment_id -> Nullable<Uuid>,
        title -> Text,
        link -> Text,
        data -> Jsonb,
        read_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    oidc_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    oidc_logins (state_digest) {
        state_digest -> Text,
        provider -> Text,
        nonce -> Text,
        verifier -> Text,
        redirect_uri -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    opportunities (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        name_normalized -> Text,
        account_id -> Nullable<Uuid>,
        stage -> Text,
        opportunity_type -> Nullable<Text>,
        currency -> Nullable<Text>,
        amount -> Nullable<BigInt>,
        amount_source -> Text,
        probability -> Integer,
        probability_is_manual -> Bool,
        closed_on -> Nullable<Date>,
        lead_source -> Nullable<Text>,
        description -> Nullable<Text>,
        closed_by -> Nullable<Uuid>,
        stage_changed_at -> Timestamptz,
        position -> Text,
        is_active -> Bool,
        is_sample -> Bool,
        custom_fields -> Jsonb,
    }
}

diesel::table! {
    opportunity_lines (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        opportunity_id -> Uuid,
        product_id -> Nullable<Uuid>,
        name -> Text,
        description -> Nullable<Text>,
        quantity -> BigInt,
        unit_price -> BigInt,
        discount_type -> Nullable<Text>,
        discount_value -> BigInt,
        subtotal -> BigInt,
        discount_amount -> BigInt,
        total -> BigInt,
        sort_order -> Integer,
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
    planner_entries (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        event_type -> Text,
        status -> Nullable<Text>,
        direction -> Nullable<Text>,
        start_date -> Timestamptz,
        close_date -> Nullable<Timestamptz>,
        duration -> Nullable<Integer>,
        priority -> Nullable<Text>,
        ends_at -> Timestamptz,
        account_id -> Nullable<Uuid>,
        contact_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        opportunity_id -> Nullable<Uuid>,
        case_id -> Nullable<Uuid>,
        description -> Nullable<Text>,
        is_active -> Bool,
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
    products (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        description -> Nullable<Text>,
        sku -> Nullable<Text>,
        price -> BigInt,
        currency -> Text,
        category -> Nullable<Text>,
        is_active -> Bool,
        is_sample -> Bool,
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
    record_attendees (org_id, record_id, membership_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        membership_id -> Uuid,
    }
}

diesel::table! {
    record_contacts (org_id, record_id, contact_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        contact_id -> Uuid,
    }
}

diesel::table! {
    record_counters (org_id, kind) {
        org_id -> Uuid,
        kind -> Text,
        last -> BigInt,
    }
}

diesel::table! {
    record_followers (org_id, record_id, membership_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        membership_id -> Uuid,
        state -> Text,
    }
}

diesel::table! {
    record_leads (org_id, record_id, lead_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        lead_id -> Uuid,
    }
}

diesel::table! {
    record_merges (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        winner_id -> Uuid,
        loser_id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        undone_at -> Nullable<Timestamptz>,
        undone_by -> Nullable<Uuid>,
        loser -> Jsonb,
        moved -> Jsonb,
    }
}

diesel::table! {
    record_reminders (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        record_id -> Uuid,
        reminder_type -> Text,
        reminder_time -> Integer,
        due_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    record_sources (org_id, record_id, source_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        source_id -> Uuid,
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
    recovery_codes (user_id, digest) {
        user_id -> Uuid,
        digest -> Text,
        created_at -> Timestamptz,
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
    reopen_policies (org_id) {
        org_id -> Uuid,
        is_enabled -> Bool,
        reopen_window_days -> Integer,
        reopen_to_status -> Text,
        notify_assigned -> Bool,
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
    sales_goals (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        name -> Text,
        goal_type -> Text,
        target_value -> BigInt,
        currency -> Nullable<Text>,
        period_type -> Text,
        period_start -> Date,
        period_end -> Date,
        assigned_to -> Nullable<Uuid>,
        team_id -> Nullable<Uuid>,
        is_active -> Bool,
        milestone -> Integer,
    }
}

diesel::table! {
    search_documents (org_id, record_id) {
        org_id -> Uuid,
        record_id -> Uuid,
        kind -> Text,
        body -> Text,
        title -> Text,
        subtitle -> Text,
        title_folded -> Text,
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
        request_id -> Nullable<Text>,
        method -> Nullable<Text>,
        route -> Nullable<Text>,
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
    sign_in_challenges (digest) {
        digest -> Text,
        user_id -> Uuid,
        org_id -> Nullable<Uuid>,
        method -> Text,
        mark -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    sign_in_codes (email_normalized) {
        email_normalized -> Text,
        seed -> Uuid,
        attempts -> Integer,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    sign_in_links (digest) {
        digest -> Text,
        email -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    sla_targets (org_id, priority) {
        org_id -> Uuid,
        priority -> Text,
        first_response_hours -> Integer,
        resolution_hours -> Integer,
    }
}

diesel::table! {
    solution_texts (org_id, solution_id) {
        org_id -> Uuid,
        solution_id -> Uuid,
        title -> Text,
        body -> Text,
    }
}

diesel::table! {
    solutions (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        title -> Text,
        slug -> Text,
        description -> Text,
        status -> Text,
        is_published -> Bool,
        published_at -> Nullable<Timestamptz>,
        published_by -> Nullable<Uuid>,
    }
}

diesel::table! {
    stage_aging (org_id, stage) {
        org_id -> Uuid,
        stage -> Text,
        expected_days -> Integer,
        warning_days -> Nullable<Integer>,
    }
}

diesel::table! {
    storage_usage (org_id) {
        org_id -> Uuid,
        used_bytes -> BigInt,
        files -> BigInt,
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
        merged_into_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    tallies (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        bucket -> Text,
        count -> BigInt,
        amount -> Numeric,
        weighted -> Numeric,
        day -> Nullable<Date>,
    }
}

diesel::table! {
    task_pipelines (org_id, id) {
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
        is_default -> Bool,
        is_active -> Bool,
    }
}

diesel::table! {
    task_stages (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        pipeline_id -> Uuid,
        name -> Text,
        name_normalized -> Text,
        sort_order -> Integer,
        color -> Text,
        stage_type -> Text,
        maps_to_status -> Nullable<Text>,
        wip_limit -> Nullable<Integer>,
    }
}

diesel::table! {
    tasks (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        title -> Text,
        status -> Text,
        priority -> Text,
        due_date -> Nullable<Date>,
        description -> Nullable<Text>,
        account_id -> Nullable<Uuid>,
        lead_id -> Nullable<Uuid>,
        opportunity_id -> Nullable<Uuid>,
        case_id -> Nullable<Uuid>,
        stage_id -> Nullable<Uuid>,
        position -> Text,
        completed_at -> Nullable<Timestamptz>,
        rrule -> Nullable<Text>,
        series_id -> Nullable<Uuid>,
        series_starts_on -> Nullable<Date>,
        occurrence_on -> Nullable<Date>,
        is_active -> Bool,
        is_sample -> Bool,
        custom_fields -> Jsonb,
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
    time_entries (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        case_id -> Uuid,
        membership_id -> Uuid,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        duration_minutes -> Integer,
        description -> Text,
        billable -> Bool,
        hourly_rate -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        auto_stopped -> Bool,
    }
}

diesel::table! {
    totp_factors (user_id) {
        user_id -> Uuid,
        secret -> Text,
        enabled_at -> Nullable<Timestamptz>,
        last_step -> BigInt,
        created_at -> Timestamptz,
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

diesel::table! {
    web_forms (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        title -> Text,
        key_digest -> Text,
        key_prefix -> Text,
        website -> Nullable<Text>,
        allowed_origins -> Jsonb,
        lead_source -> Nullable<Text>,
        is_active -> Bool,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    webhook_deliveries (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        webhook_id -> Uuid,
        created_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        event -> Text,
        change_id -> Nullable<Uuid>,
        body -> Text,
        state -> Text,
        ticket -> Uuid,
        tries -> Integer,
        next_attempt_at -> Nullable<Timestamptz>,
        delivered_at -> Nullable<Timestamptz>,
        attempts -> Jsonb,
    }
}

diesel::table! {
    webhooks (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        created_by -> Nullable<Uuid>,
        updated_by -> Nullable<Uuid>,
        url -> Text,
        events -> Jsonb,
        description -> Text,
        is_active -> Bool,
        disabled_reason -> Nullable<Text>,
        failing_since -> Nullable<Timestamptz>,
        secret -> Text,
        previous_secret -> Nullable<Text>,
        previous_secret_until -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(access_tokens, memberships);
diesel::allow_tables_to_appear_in_same_query!(account_message_recipients, account_messages);
diesel::allow_tables_to_appear_in_same_query!(account_message_recipients, contacts);
diesel::allow_tables_to_appear_in_same_query!(account_message_recipients, mails);
diesel::allow_tables_to_appear_in_same_query!(account_messages, accounts);
diesel::allow_tables_to_appear_in_same_query!(account_messages, memberships);
diesel::allow_tables_to_appear_in_same_query!(account_messages, records);
diesel::allow_tables_to_appear_in_same_query!(accounts, board_cards);
diesel::allow_tables_to_appear_in_same_query!(accounts, cases);
diesel::allow_tables_to_appear_in_same_query!(accounts, contacts);
diesel::allow_tables_to_appear_in_same_query!(accounts, conversions);
diesel::allow_tables_to_appear_in_same_query!(accounts, memberships);
diesel::allow_tables_to_appear_in_same_query!(accounts, opportunities);
diesel::allow_tables_to_appear_in_same_query!(accounts, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(accounts, records);
diesel::allow_tables_to_appear_in_same_query!(accounts, tasks);
diesel::allow_tables_to_appear_in_same_query!(attachments, documents);
diesel::allow_tables_to_appear_in_same_query!(attachments, imports);
diesel::allow_tables_to_appear_in_same_query!(attachments, memberships);
diesel::allow_tables_to_appear_in_same_query!(attachments, records);
diesel::allow_tables_to_appear_in_same_query!(board_cards, board_columns);
diesel::allow_tables_to_appear_in_same_query!(board_cards, boards);
diesel::allow_tables_to_appear_in_same_query!(board_cards, contacts);
diesel::allow_tables_to_appear_in_same_query!(board_cards, memberships);
diesel::allow_tables_to_appear_in_same_query!(board_cards, opportunities);
diesel::allow_tables_to_appear_in_same_query!(board_cards, records);
diesel::allow_tables_to_appear_in_same_query!(board_columns, boards);
diesel::allow_tables_to_appear_in_same_query!(board_columns, memberships);
diesel::allow_tables_to_appear_in_same_query!(board_members, boards);
diesel::allow_tables_to_appear_in_same_query!(board_members, memberships);
diesel::allow_tables_to_appear_in_same_query!(boards, memberships);
diesel::allow_tables_to_appear_in_same_query!(boards, records);
diesel::allow_tables_to_appear_in_same_query!(business_calendars, business_holidays);
diesel::allow_tables_to_appear_in_same_query!(business_calendars, memberships);
diesel::allow_tables_to_appear_in_same_query!(business_calendars, records);
diesel::allow_tables_to_appear_in_same_query!(business_holidays, memberships);
diesel::allow_tables_to_appear_in_same_query!(case_pipelines, case_stages);
diesel::allow_tables_to_appear_in_same_query!(case_pipelines, memberships);
diesel::allow_tables_to_appear_in_same_query!(case_pipelines, records);
diesel::allow_tables_to_appear_in_same_query!(case_solutions, cases);
diesel::allow_tables_to_appear_in_same_query!(case_solutions, memberships);
diesel::allow_tables_to_appear_in_same_query!(case_solutions, solutions);
diesel::allow_tables_to_appear_in_same_query!(case_stages, cases);
diesel::allow_tables_to_appear_in_same_query!(case_stages, memberships);
diesel::allow_tables_to_appear_in_same_query!(case_stages, records);
diesel::allow_tables_to_appear_in_same_query!(cases, memberships);
diesel::allow_tables_to_appear_in_same_query!(cases, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(cases, records);
diesel::allow_tables_to_appear_in_same_query!(cases, tasks);
diesel::allow_tables_to_appear_in_same_query!(cases, time_entries);
diesel::allow_tables_to_appear_in_same_query!(changes, memberships);
diesel::allow_tables_to_appear_in_same_query!(changes, records);
diesel::allow_tables_to_appear_in_same_query!(comment_mentions, comments);
diesel::allow_tables_to_appear_in_same_query!(comment_mentions, memberships);
diesel::allow_tables_to_appear_in_same_query!(comments, memberships);
diesel::allow_tables_to_appear_in_same_query!(comments, notifications);
diesel::allow_tables_to_appear_in_same_query!(comments, records);
diesel::allow_tables_to_appear_in_same_query!(contacts, conversions);
diesel::allow_tables_to_appear_in_same_query!(contacts, event_attendees);
diesel::allow_tables_to_appear_in_same_query!(contacts, memberships);
diesel::allow_tables_to_appear_in_same_query!(contacts, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(contacts, record_contacts);
diesel::allow_tables_to_appear_in_same_query!(contacts, records);
diesel::allow_tables_to_appear_in_same_query!(conversions, leads);
diesel::allow_tables_to_appear_in_same_query!(conversions, memberships);
diesel::allow_tables_to_appear_in_same_query!(conversions, opportunities);
diesel::allow_tables_to_appear_in_same_query!(custom_fields, custom_values);
diesel::allow_tables_to_appear_in_same_query!(custom_fields, memberships);
diesel::allow_tables_to_appear_in_same_query!(custom_fields, records);
diesel::allow_tables_to_appear_in_same_query!(custom_values, records);
diesel::allow_tables_to_appear_in_same_query!(deletions, memberships);
diesel::allow_tables_to_appear_in_same_query!(deletions, organizations);
diesel::allow_tables_to_appear_in_same_query!(documents, memberships);
diesel::allow_tables_to_appear_in_same_query!(documents, records);
diesel::allow_tables_to_appear_in_same_query!(email_tokens, users);
diesel::allow_tables_to_appear_in_same_query!(escalation_policies, memberships);
diesel::allow_tables_to_appear_in_same_query!(escalation_policies, records);
diesel::allow_tables_to_appear_in_same_query!(escalation_policies, teams);
diesel::allow_tables_to_appear_in_same_query!(event_attendees, events);
diesel::allow_tables_to_appear_in_same_query!(event_attendees, leads);
diesel::allow_tables_to_appear_in_same_query!(event_attendees, memberships);
diesel::allow_tables_to_appear_in_same_query!(event_feeds, memberships);
diesel::allow_tables_to_appear_in_same_query!(events, memberships);
diesel::allow_tables_to_appear_in_same_query!(events, records);
diesel::allow_tables_to_appear_in_same_query!(idempotency_keys, memberships);
diesel::allow_tables_to_appear_in_same_query!(import_rows, imports);
diesel::allow_tables_to_appear_in_same_query!(imports, memberships);
diesel::allow_tables_to_appear_in_same_query!(imports, records);
diesel::allow_tables_to_appear_in_same_query!(lead_pipelines, lead_stages);
diesel::allow_tables_to_appear_in_same_query!(lead_pipelines, memberships);
diesel::allow_tables_to_appear_in_same_query!(lead_pipelines, records);
diesel::allow_tables_to_appear_in_same_query!(lead_stages, leads);
diesel::allow_tables_to_appear_in_same_query!(lead_stages, memberships);
diesel::allow_tables_to_appear_in_same_query!(lead_stages, records);
diesel::allow_tables_to_appear_in_same_query!(leads, memberships);
diesel::allow_tables_to_appear_in_same_query!(leads, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(leads, record_leads);
diesel::allow_tables_to_appear_in_same_query!(leads, records);
diesel::allow_tables_to_appear_in_same_query!(leads, tasks);
diesel::allow_tables_to_appear_in_same_query!(mail_senders, memberships);
diesel::allow_tables_to_appear_in_same_query!(mail_senders, records);
diesel::allow_tables_to_appear_in_same_query!(mail_suppressions, memberships);
diesel::allow_tables_to_appear_in_same_query!(mail_suppressions, organizations);
diesel::allow_tables_to_appear_in_same_query!(mails, memberships);
diesel::allow_tables_to_appear_in_same_query!(mails, organizations);
diesel::allow_tables_to_appear_in_same_query!(memberships, notification_preferences);
diesel::allow_tables_to_appear_in_same_query!(memberships, notifications);
diesel::allow_tables_to_appear_in_same_query!(memberships, opportunities);
diesel::allow_tables_to_appear_in_same_query!(memberships, opportunity_lines);
diesel::allow_tables_to_appear_in_same_query!(memberships, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(memberships, products);
diesel::allow_tables_to_appear_in_same_query!(memberships, record_assignees);
diesel::allow_tables_to_appear_in_same_query!(memberships, record_attendees);
diesel::allow_tables_to_appear_in_same_query!(memberships, record_followers);
diesel::allow_tables_to_appear_in_same_query!(memberships, record_merges);
diesel::allow_tables_to_appear_in_same_query!(memberships, records);
diesel::allow_tables_to_appear_in_same_query!(memberships, roles);
diesel::allow_tables_to_appear_in_same_query!(memberships, sales_goals);
diesel::allow_tables_to_appear_in_same_query!(memberships, solutions);
diesel::allow_tables_to_appear_in_same_query!(memberships, tags);
diesel::allow_tables_to_appear_in_same_query!(memberships, task_pipelines);
diesel::allow_tables_to_appear_in_same_query!(memberships, task_stages);
diesel::allow_tables_to_appear_in_same_query!(memberships, tasks);
diesel::allow_tables_to_appear_in_same_query!(memberships, team_members);
diesel::allow_tables_to_appear_in_same_query!(memberships, teams);
diesel::allow_tables_to_appear_in_same_query!(memberships, time_entries);
diesel::allow_tables_to_appear_in_same_query!(memberships, users);
diesel::allow_tables_to_appear_in_same_query!(memberships, web_forms);
diesel::allow_tables_to_appear_in_same_query!(memberships, webhook_deliveries);
diesel::allow_tables_to_appear_in_same_query!(memberships, webhooks);
diesel::allow_tables_to_appear_in_same_query!(notifications, records);
diesel::allow_tables_to_appear_in_same_query!(oidc_identities, users);
diesel::allow_tables_to_appear_in_same_query!(opportunities, opportunity_lines);
diesel::allow_tables_to_appear_in_same_query!(opportunities, planner_entries);
diesel::allow_tables_to_appear_in_same_query!(opportunities, records);
diesel::allow_tables_to_appear_in_same_query!(opportunities, tasks);
diesel::allow_tables_to_appear_in_same_query!(opportunity_lines, products);
diesel::allow_tables_to_appear_in_same_query!(organizations, record_counters);
diesel::allow_tables_to_appear_in_same_query!(organizations, records);
diesel::allow_tables_to_appear_in_same_query!(organizations, refresh_tokens);
diesel::allow_tables_to_appear_in_same_query!(organizations, reopen_policies);
diesel::allow_tables_to_appear_in_same_query!(organizations, sla_targets);
diesel::allow_tables_to_appear_in_same_query!(organizations, stage_aging);
diesel::allow_tables_to_appear_in_same_query!(organizations, storage_usage);
diesel::allow_tables_to_appear_in_same_query!(organizations, tallies);
diesel::allow_tables_to_appear_in_same_query!(organizations, user_orgs);
diesel::allow_tables_to_appear_in_same_query!(planner_entries, records);
diesel::allow_tables_to_appear_in_same_query!(platform_admins, users);
diesel::allow_tables_to_appear_in_same_query!(products, records);
diesel::allow_tables_to_appear_in_same_query!(record_assignees, records);
diesel::allow_tables_to_appear_in_same_query!(record_attendees, records);
diesel::allow_tables_to_appear_in_same_query!(record_contacts, records);
diesel::allow_tables_to_appear_in_same_query!(record_followers, records);
diesel::allow_tables_to_appear_in_same_query!(record_leads, records);
diesel::allow_tables_to_appear_in_same_query!(record_merges, records);
diesel::allow_tables_to_appear_in_same_query!(record_reminders, records);
diesel::allow_tables_to_appear_in_same_query!(record_sources, records);
diesel::allow_tables_to_appear_in_same_query!(record_tags, records);
diesel::allow_tables_to_appear_in_same_query!(record_tags, tags);
diesel::allow_tables_to_appear_in_same_query!(record_teams, records);
diesel::allow_tables_to_appear_in_same_query!(record_teams, teams);
diesel::allow_tables_to_appear_in_same_query!(records, roles);
diesel::allow_tables_to_appear_in_same_query!(records, sales_goals);
diesel::allow_tables_to_appear_in_same_query!(records, search_documents);
diesel::allow_tables_to_appear_in_same_query!(records, solutions);
diesel::allow_tables_to_appear_in_same_query!(records, tags);
diesel::allow_tables_to_appear_in_same_query!(records, task_pipelines);
diesel::allow_tables_to_appear_in_same_query!(records, task_stages);
diesel::allow_tables_to_appear_in_same_query!(records, tasks);
diesel::allow_tables_to_appear_in_same_query!(records, teams);
diesel::allow_tables_to_appear_in_same_query!(records, web_forms);
diesel::allow_tables_to_appear_in_same_query!(records, webhooks);
diesel::allow_tables_to_appear_in_same_query!(recovery_codes, users);
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions);
diesel::allow_tables_to_appear_in_same_query!(sales_goals, teams);
diesel::allow_tables_to_appear_in_same_query!(sessions, users);
diesel::allow_tables_to_appear_in_same_query!(sign_in_challenges, users);
diesel::allow_tables_to_appear_in_same_query!(solution_texts, solutions);
diesel::allow_tables_to_appear_in_same_query!(task_pipelines, task_stages);
diesel::allow_tables_to_appear_in_same_query!(task_stages, tasks);
diesel::allow_tables_to_appear_in_same_query!(team_members, teams);
diesel::allow_tables_to_appear_in_same_query!(totp_factors, users);
diesel::allow_tables_to_appear_in_same_query!(user_orgs, users);
diesel::allow_tables_to_appear_in_same_query!(webhook_deliveries, webhooks);
