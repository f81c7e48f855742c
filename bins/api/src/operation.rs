//! What an HTTP operation is: its path and method, who may call it, and how it is documented, declared in one place.
//!
//! Router and OpenAPI document are both made from the same list, so neither has a path, method or parameter that the
//! other lacks.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Responder};
use crm_access::{Require, has_perm};
use crm_core::{Caller, Error, Principal, Result};
use crm_identity::InTheNameOf;
use crm_records::list::{Page, Resource};
use crm_transfer::Transferable;
use utoipa::openapi::schema::{AllOfBuilder, ArrayItems, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::{idempotency, middleware};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Anybody.
    Public,
    /// Whoever is signed in, with or without an organization.
    SignedIn,
    /// Any active member of the token's organization.
    Member,
    /// A member whose role grants this.
    Permission(&'static str),
    /// A platform administrator who may do this.
    Platform(&'static str),
}

impl Permit {
    /// Judges a member in their transaction.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check(self, caller: &Caller) -> Result<()> {
        match self {
            Self::Permission(permission) => caller.require(permission).map(drop),
            Self::Platform(_) => Err(Error::Forbidden("this is for platform administrators".into())),
            Self::Public | Self::SignedIn | Self::Member => Ok(()),
        }
    }

    /// Judges a platform principal.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check_platform(self, principal: &Principal) -> Result<()> {
        match self {
            Self::Platform(permission) if has_perm(principal, permission) => Ok(()),
            _ => Err(Error::Forbidden("this is for platform administrators".into())),
        }
    }
}

/// A schema with the components it refers to.
#[derive(Clone)]
pub struct Body {
    /// Its media type.
    pub media_type: &'static str,
    /// The schema; none for bytes.
    pub schema: RefOr<Schema>,
    /// What it refers to.
    pub components: Vec<(String, RefOr<Schema>)>,
}

impl Body {
    fn of<T: ToSchema + PartialSchema>() -> Self {
        Self::named::<T>(T::name().into_owned())
    }

    fn named<T: ToSchema + PartialSchema>(name: String) -> Self {
        let mut components = Vec::new();
        T::schemas(&mut components);
        let schema = match T::schema() {
            RefOr::T(schema @ Schema::Array(_)) => RefOr::T(schema),
            schema => {
                components.push((name.clone(), schema));
                RefOr::Ref(Ref::from_schema_name(name))
            }
        };
        Self { media_type: "application/json", schema, components }
    }

    /// The fields of a module, the links of every record and the organization's own fields, side by side.
    fn record<F: ToSchema>() -> Self {
        let parts = [
            Self::of::<F>(),
            Self::of::<crm_records::Links>(),
            Self::of::<crm_records::custom::CustomBody>(),
        ];
        let schema =
            parts.iter().fold(AllOfBuilder::new(), |all, part| all.item(part.schema.clone())).build();
        let components = parts.into_iter().flat_map(|part| part.components).collect();
        Self { media_type: "application/json", schema: RefOr::T(schema.into()), components }
    }
}

impl Body {
    /// The properties of an object, or of the objects on a page.
    fn properties(&self, schema: &RefOr<Schema>, names: &mut Vec<String>) {
        match schema {
            RefOr::Ref(reference) => {
                let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
                if let Some((_, schema @ RefOr::T(_))) =
                    self.components.iter().find(|(known, _)| known == name)
                {
                    self.properties(schema, names);
                }
            }
            RefOr::T(Schema::Object(object)) => match object.properties.get("results") {
                Some(RefOr::T(Schema::Array(page))) => {
                    if let ArrayItems::RefOrSchema(items) = &page.items {
                        self.properties(items, names);
                    }
                }
                _ => names.extend(object.properties.keys().cloned()),
            },
            RefOr::T(Schema::AllOf(all)) => all.items.iter().for_each(|item| self.properties(item, names)),
            RefOr::T(_) => {}
        }
    }
}

/// One operation.
pub struct Op {
    /// The method.
    pub method: Method,
    /// The path, with its final slash and `{id}` for the record, `{line}` for a line item of it.
    pub path: &'static str,
    /// Stable across releases.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Who may call it.
    pub permit: Permit,
    /// What it lists, which gives its parameters.
    pub list: Option<Resource>,
    /// What its filters choose from, where it answers something made of all those rows.
    pub narrows: Option<Resource>,
    /// Whether that is as a file: every row, and no pages.
    pub exports: bool,
    /// What it answers as cards of a board, which `fields` and `expand` reshape.
    cards: Option<Body>,
    /// Whether it answers a record that `fields` and `expand` reshape.
    pub shape: Option<Resource>,
    /// Further query parameters with their meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// The request's body.
    pub body: Option<Body>,
    /// The status of success and what it answers.
    pub answer: (u16, Option<Body>),
    /// Whether `If-Match` is honoured.
    pub if_match: bool,
    /// Further refusals beside those that follow from the rest.
    pub refusals: Vec<u16>,
}

impl Op {
    const fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        permit: Permit,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            permit,
            list: None,
            narrows: None,
            exports: false,
            cards: None,
            shape: None,
            query: &[],
            body: None,
            answer: (204, None),
            if_match: false,
            refusals: Vec::new(),
        }
    }

    /// A GET.
    pub const fn get(path: &'static str, id: &'static str, permit: Permit, summary: &'static str) -> Self {
        Self::new(Method::GET, path, id, permit, summary)
    }

    /// A POST.
    pub const fn post(path: &'static str, id: &'static str, permit: Permit, summary: &'static str) -> Self {
        Self::new(Method::POST, path, id, permit, summary)
    }

    /// A PUT.
    pub const fn put(path: &'static str, id: &'static str, permit: Permit, summary: &'static str) -> Self {
        Self::new(Method::PUT, path, id, permit, summary).if_match()
    }

    /// A PATCH.
    pub const fn patch(path: &'static str, id: &'static str, permit: Permit, summary: &'static str) -> Self {
        Self::new(Method::PATCH, path, id, permit, summary).if_match()
    }

    /// A DELETE.
    pub const fn delete(path: &'static str, id: &'static str, permit: Permit, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, permit, summary).if_match()
    }

    const fn if_match(mut self) -> Self {
        self.if_match = true;
        self
    }

    /// Honours `If-Match`, which a POST does not do otherwise.
    pub const fn honours_if_match(self) -> Self {
        self.if_match()
    }

    /// Not versioned: `If-Match` means nothing here.
    pub const fn unversioned(mut self) -> Self {
        self.if_match = false;
        self
    }

    /// Takes the parameters of a list.
    pub const fn lists(mut self, resource: Resource) -> Self {
        self.list = Some(resource);
        self
    }

    /// Takes the filters of a list, but no page of it.
    pub const fn narrows(mut self, resource: Resource) -> Self {
        self.narrows = Some(resource);
        self
    }

    /// Takes the filters and the order of a list, and answers it as a file.
    pub const fn exports(mut self, resource: Resource) -> Self {
        self.exports = true;
        self.lists(resource)
    }

    /// Takes the filters of a list of `T`, and answers the columns of a board with the first of them as cards, which `fields` and
    /// `expand` reshape.
    pub fn boards<T: ToSchema>(mut self, resource: Resource) -> Self {
        self.cards = Some(Body::of::<T>());
        self.narrows(resource)
    }

    /// Whether `fields` and `expand` reshape what it answers, and what that is.
    pub fn reshaped(&self) -> Option<&Resource> {
        let cards = self.narrows.as_ref().filter(|_| self.cards.is_some());
        self.list.as_ref().or(cards).or(self.shape.as_ref())
    }

    /// Takes `fields` and `expand`.
    pub const fn shaped(mut self, resource: Resource) -> Self {
        self.shape = Some(resource);
        self
    }

    /// Takes further query parameters.
    pub const fn takes_query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    /// Takes a JSON body.
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.body = Some(Body::of::<T>());
        self
    }

    /// Takes the body of a record: a module's fields and every record's links.
    pub fn takes_record<F: ToSchema>(mut self) -> Self {
        self.body = Some(Body::record::<F>());
        self
    }

    /// Takes a file as the part `file` of a multipart form.
    pub fn takes_file(mut self) -> Self {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        let file =
            ObjectBuilder::new().schema_type(Type::String).content_media_type("application/octet-stream");
        let form = ObjectBuilder::new().property("file", file).required("file");
        self.body = Some(Body {
            media_type: "multipart/form-data",
            schema: RefOr::T(form.into()),
            components: Vec::new(),
        });
        self
    }

    /// Takes a file as the part `file` of a multipart form, and the fields of `F` in others.
    pub fn takes_upload<F: ToSchema>(self) -> Self {
        let fields = Body::of::<F>();
        let mut this = self.takes_file();
        if let Some(form) = &mut this.body {
            let both = AllOfBuilder::new().item(fields.schema).item(form.schema.clone()).build();
            form.schema = RefOr::T(both.into());
            form.components = fields.components;
        }
        this
    }

    /// Answers JSON.
    pub fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.answer = (status, Some(Body::of::<T>()));
        self
    }

    /// Answers a page of a list.
    pub fn answers_page<T: ToSchema>(mut self) -> Self {
        let mut page = Body::named::<Page<T>>(format!("{}Page", T::name()));
        page.components.extend(Body::of::<T>().components);
        self.answer = (200, Some(page));
        self
    }

    /// Answers bytes of a media type.
    pub fn answers_bytes(mut self, media_type: &'static str) -> Self {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        self.answer =
            (200, Some(Body { media_type, schema: RefOr::T(bytes.into()), components: Vec::new() }));
        self
    }

    /// Answers 202 without a body: the work goes on after the answer.
    pub const fn accepted(mut self) -> Self {
        self.answer.0 = 202;
        self
    }

    /// May also refuse with these.
    pub fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend_from_slice(statuses);
        self
    }

    /// The tag: the module in the path.
    pub fn tag(&self) -> &'static str {
        let mut parts = self.path.split('/').filter(|part| !part.is_empty());
        match (parts.next(), parts.next()) {
            (Some("api"), Some("user")) => "users",
            (Some("api"), Some(module)) => module,
            _ => "service",
        }
    }

    /// The names of the fields of a record that it answers: what `fields` may ask for. None where it judges that itself.
    fn field_names(&self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let shaped = self.answer.1.as_ref().filter(|_| self.list.is_some() || self.shape.is_some());
        if let Some(body) = self.cards.as_ref().or(shaped) {
            body.properties(&body.schema, &mut names);
        }
        (!self.exports).then_some(names)
    }

    /// The names of the query parameters that it takes; none for a list or what is made of one, which judges them itself.
    pub fn query_names(&self) -> Option<Vec<&'static str>> {
        if self.list.is_some() || self.narrows.is_some() {
            return None;
        }
        let shape = if self.shape.is_some() { &["fields", "expand"][..] } else { &[] };
        Some(self.query.iter().map(|(name, _)| *name).chain(shape.iter().copied()).collect())
    }
}

/// What the router tells an extractor about the operation that was called.
#[derive(Debug, Clone)]
pub struct Called {
    method: Method,
    /// Its path, with names such as `{id}` for parameters.
    pub path: &'static str,
    /// Its name.
    pub id: &'static str,
    /// Who may call it.
    pub permit: Permit,
    /// The query parameters it takes, unless it judges them itself.
    pub query: Option<Vec<&'static str>>,
    /// What `fields` may name, unless the operation judges it itself.
    pub fields: Option<Vec<String>>,
}

/// The operations of one path, as data of its resource.
#[derive(Debug, Clone, Default)]
pub struct CalledAt(Vec<Called>);

impl CalledAt {
    /// The operation of a method; HEAD is a GET.
    pub fn method(&self, method: &Method) -> Option<&Called> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|called| called.method == *method)
    }
}

/// Every operation with its handler.
#[derive(Default)]
pub struct Routes {
    operations: Vec<Op>,
    /// The modules that files come out of and go into.
    pub transferable: Vec<Transferable<InTheNameOf>>,
    handlers: BTreeMap<&'static str, Vec<(Method, actix_web::Route)>>,
}

impl Routes {
    /// Declares an operation.
    pub fn add<F, Args>(&mut self, op: Op, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let routes = self.handlers.entry(op.path).or_default();
        if op.method == Method::GET {
            // The server leaves the body out.
            routes.push((Method::HEAD, web::head().to(handler.clone())));
        }
        routes.push((op.method.clone(), web::method(op.method.clone()).to(handler)));
        self.operations.push(op);
        self
    }

    /// Every operation, in the order of declaration.
    pub fn operations(&self) -> &[Op] {
        &self.operations
    }

    /// Puts every operation into the application, with 405 and `Allow` for the methods that a path lacks.
    pub fn configure(self, config: &mut ServiceConfig) {
        let mut called: BTreeMap<&'static str, CalledAt> = BTreeMap::new();
        for op in &self.operations {
            let (query, fields) = (op.query_names(), op.field_names());
            let (path, id) = (op.path, op.id);
            let one = Called { method: op.method.clone(), path, id, permit: op.permit, query, fields };
            called.entry(op.path).or_default().0.push(one);
        }
        // Fixed words before parameters: a path of words is never taken for an id.
        let mut paths: Vec<_> = self.handlers.into_iter().collect();
        paths.sort_by_key(|(path, _)| (path.matches('{').count(), *path));
        for (path, methods) in paths {
            let allow = methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
            let mut resource = web::resource(path).app_data(called.remove(path).unwrap_or_default());
            for (_, route) in methods {
                resource = resource.route(route);
            }
            let resource = resource.wrap(from_fn(idempotency::honour)).wrap(from_fn(middleware::audit));
            config.service(resource.default_service(web::to(move || {
                let allow = allow.clone();
                async move { HttpResponse::MethodNotAllowed().insert_header(("Allow", allow)).finish() }
            })));
        }
    }
}
