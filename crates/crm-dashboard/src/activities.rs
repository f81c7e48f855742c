use chrono::{DateTime, Utc};
use crm_core::body::nearest;
use crm_core::{Code, Error, FieldCode, MemberId, Result, TenantTx};
use crm_records::Target;
use crm_records::history::HISTORY;
use crm_records::list::{Kind, OwnRecords, Page, Params};
use diesel::Queryable;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use uuid::Uuid;

use crate::part::Part;
use crate::statement::Statement;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 50;

/// What the feed takes.
pub const ACTIVITY_PARAMETERS: &[(&str, &str)] = &[
    ("limit", "How many entries: 1 to 50, 10 if left out"),
    ("cursor", "As `next` has it"),
    ("kind", "Only records of this kind"),
    ("action", "Only this action: `created`, `updated`, `commented`, …, `deleted`"),
    ("actor", "Only what this member did"),
];

/// Something that happened to a record.
#[derive(Debug, Clone, Queryable, Serialize, utoipa::ToSchema)]
pub struct Activity {
    /// The change.
    pub id: Uuid,
    /// The kind of record.
    pub kind: String,
    /// The record.
    pub record_id: Uuid,
    /// What the record is called now; null when it is gone.
    pub title: Option<String>,
    /// `created`, `updated`, `commented`, …, `deleted`.
    pub action: String,
    /// The names of the fields that changed.
    pub fields: Vec<String>,
    /// Who did it; null for the program itself.
    pub actor: Option<MemberId>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A query string judged.
struct Wanted {
    limit: usize,
    before: Uuid,
    kind: Option<&'static str>,
    action: Option<&'static str>,
    actor: Option<Uuid>,
}

/// What happened lately to the records that the caller may see, newest first; deletions for those who see all records of a kind. A page
/// looks at the newest 2,000 changes behind its cursor, so it may be short, even empty, where what is asked for is rare; `next` leads on
/// as long as there is more to look at.
///
/// # Errors
/// 400 naming the parameter; `InvalidCursor`; those of the database.
pub async fn activities(t: &mut TenantTx, targets: &[Target], params: &Params) -> Result<Page<Activity>> {
    let wanted = Wanted::read(params, targets)?;
    let (mut walked, mut own) = (Vec::new(), Vec::new());
    let kinds = targets.iter().map(|target| target.resource.kind);
    for kind in kinds.filter(|kind| wanted.kind.is_none_or(|wanted| wanted == *kind)) {
        let Some(part) = Part::of(t, targets, kind) else { continue };
        match OwnRecords::newest(t, &part.visible(t).0).await? {
            // Few records have their changes looked up one by one: they may be rare among everybody's.
            Some(few) if few.all => own.extend(few.ids),
            _ => walked.push(part),
        }
    }
    let mut rows: Vec<Row> = feed(t, &wanted, &walked, own).load(t.conn()?).await?;
    // Where the walk ended before the end, nothing is known of what is older.
    let floor = rows.iter().filter(|row| row.kind.is_none()).map(|row| row.id).max();
    rows.retain(|row| row.kind.is_some() && floor.is_none_or(|floor| row.id >= floor));
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let more = rows.len() > wanted.limit;
    rows.truncate(wanted.limit);
    let last = if more { rows.last().map(|row| row.id) } else { floor };
    let results = rows.into_iter().filter_map(Row::activity).collect();
    Ok(Page { count: None, next: last.map(|last| link(params, &wanted, last)), previous: None, results })
}

impl Wanted {
    fn read(params: &Params, targets: &[Target]) -> Result<Self> {
        let kinds: Vec<_> = targets.iter().map(|target| target.resource.kind).collect();
        let kind = params.get("kind").map(|word| choice("kind", word, &kinds)).transpose()?;
        let action = params.get("action").map(|word| choice("action", word, &actions())).transpose()?;
        let actor = params.get("actor").map(|text| {
            let message = format!("{text:?} is not the id of a member");
            text.parse().map_err(|_| Error::parameter("actor", FieldCode::InvalidValue, message))
        });
        let limit = params.get("limit").map(|text| {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            let message = format!("must be a whole number from 1 to {MAX_LIMIT}");
            limit.ok_or_else(|| Error::parameter("limit", FieldCode::OutOfRange, message))
        });
        let before = params.get("cursor").map(|text| {
            let why = "cursor is malformed: use next as it was given";
            text.parse().map_err(|_| Error::Refused(Code::InvalidCursor, why.into()))
        });
        Ok(Self {
            limit: limit.transpose()?.unwrap_or(DEFAULT_LIMIT),
            before: before.transpose()?.unwrap_or(Uuid::max()),
            kind,
            action,
            actor: actor.transpose()?,
        })
    }

    /// What is asked for beside the kind, as conditions on rows.
    fn conditions(&self, query: &mut Statement<RowType>) {
        if let Some(action) = self.action {
            query.push(" AND action = ANY(").push(vec![action]).push(")");
        }
        if let Some(actor) = self.actor {
            query.push(" AND created_by = ").push(actor);
        }
    }
}

/// What may happen to a record: what its history tells, and its end.
fn actions() -> Vec<&'static str> {
    let field = HISTORY.all_fields().find(|field| field.name() == "action");
    let Some(Kind::Choice(words)) = field.map(|field| field.kind()) else { return vec![DELETED] };
    words.iter().copied().chain([DELETED]).collect()
}

const DELETED: &str = "deleted";

fn choice(name: &'static str, word: &str, all: &[&'static str]) -> Result<&'static str> {
    all.iter().copied().find(|known| *known == word).ok_or_else(|| {
        let hint = nearest(word, all.iter().copied())
            .map_or_else(|| format!("choices: {}", all.join(", ")), |near| format!("did you mean {near:?}?"));
        Error::parameter(name, FieldCode::NotAChoice, format!("{word:?} is not a choice; {hint}"))
    })
}

/// A change; or, without a kind, the last one that a walk has looked at.
#[derive(Debug, Queryable)]
struct Row {
    id: Uuid,
    kind: Option<String>,
    record_id: Uuid,
    title: Option<String>,
    action: String,
    fields: Vec<String>,
    actor: Option<MemberId>,
    created_at: DateTime<Utc>,
}

type RowType =
    (SqlUuid, Nullable<Text>, SqlUuid, Nullable<Text>, Text, Array<Text>, Nullable<SqlUuid>, Timestamptz);

impl Row {
    fn activity(self) -> Option<Activity> {
        let Self { id, kind, record_id, title, action, fields, actor, created_at } = self;
        Some(Activity { id, kind: kind?, record_id, title, action, fields, actor, created_at })
    }
}

/// The newest changes of the records: in a walk over everybody's for the kinds of `walked`, looked up by themselves for those of `own`.
fn feed(t: &TenantTx, wanted: &Wanted, walked: &[Part], own: Vec<Uuid>) -> Statement<RowType> {
    const CHANGE: &str = "SELECT c.id, (SELECT r.kind FROM records r WHERE r.org_id = c.org_id AND r.id = c.record_id) AS kind, \
                          c.record_id, c.action, c.fields, c.created_by, c.created_at FROM changes c WHERE c.org_id = ";
    // The last one that a walk looks at, from the index alone.
    const FLOOR: &str = " UNION ALL (SELECT e.id, NULL, e.id, '', '{}', NULL, 'epoch'::timestamptz FROM ";
    const END_OF_WALK: &str = " ORDER BY e.id DESC OFFSET 1999 LIMIT 1)";
    let org = t.org().0;
    let most = if wanted.limit <= 10 { " LIMIT 11)" } else { " LIMIT 51)" };
    let kinds = |whole: bool| {
        let parts = walked.iter().filter(|part| part.is_whole() || !whole);
        parts.map(|part| part.resource.kind).collect::<Vec<_>>()
    };
    let mut query = Statement::new();
    query.push(
        "SELECT id, kind, record_id, record_title(record_id), action, ARRAY(SELECT jsonb_object_keys(fields) ORDER BY 1), \
         created_by, created_at FROM ((SELECT c.* FROM unnest(",
    );
    query.push(own).push(") own (id) CROSS JOIN LATERAL (").push(CHANGE).push(org);
    query.push(" AND c.record_id = own.id AND c.id < ").push(wanted.before);
    wanted.conditions(&mut query);
    query.push(" ORDER BY c.id DESC").push(most).push(" c ORDER BY c.id DESC").push(most);
    if !walked.is_empty() {
        query.push(" UNION ALL (SELECT * FROM (").push(CHANGE).push(org);
        query.push(" AND c.id < ").push(wanted.before);
        query.push(" ORDER BY c.id DESC LIMIT 2000) w WHERE kind = ANY(").push(kinds(false)).push(")");
        wanted.conditions(&mut query);
        for part in walked.iter().filter(|part| !part.is_whole()) {
            query.push(" AND (w.kind <> '").push(part.resource.kind).push("' OR EXISTS (SELECT FROM ");
            query.push(part.resource.table).push(" WHERE ").push(part.resource.table);
            query.push(".id = w.record_id AND ").push(part.visible(t)).push("))");
        }
        query.push(" ORDER BY id DESC").push(most);
        query
            .push(FLOOR)
            .push("changes e WHERE e.org_id = ")
            .push(org)
            .push(" AND e.id < ")
            .push(wanted.before);
        query.push(END_OF_WALK);
    }
    let whole = kinds(true);
    if !whole.is_empty() {
        const DELETION: &str = "id, record_id, created_by, created_at FROM deletions WHERE org_id = ";
        query.push(" UNION ALL (SELECT id, kind, record_id, action, '{}', created_by, created_at FROM (SELECT kind, 'deleted' AS action, ");
        query.push(DELETION).push(org).push(" AND id < ").push(wanted.before);
        query.push(" ORDER BY id DESC LIMIT 2000) d WHERE kind = ANY(").push(whole).push(")");
        wanted.conditions(&mut query);
        query.push(" ORDER BY id DESC").push(most);
        query
            .push(FLOOR)
            .push("deletions e WHERE e.org_id = ")
            .push(org)
            .push(" AND e.id < ")
            .push(wanted.before);
        query.push(END_OF_WALK);
    }
    query.push(") f");
    query
}

/// The next page, for the same parameters.
fn link(params: &Params, wanted: &Wanted, last: Uuid) -> String {
    let mut link = format!("{}?limit={}", params.path, wanted.limit);
    for (name, word) in [("kind", wanted.kind), ("action", wanted.action)] {
        if let Some(word) = word {
            link.push_str(&format!("&{name}={word}"));
        }
    }
    if let Some(actor) = wanted.actor {
        link.push_str(&format!("&actor={actor}"));
    }
    link + &format!("&cursor={last}")
}
