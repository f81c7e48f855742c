//! Web forms: keys by which an organization's web sites send leads.
//!
//! A raw key names its organization, so that it is looked up inside that one, under row-level security like any other row. It opens
//! nothing but the sending of leads.

mod model;
mod origin;
mod service;
mod submission;

pub use model::{IssuedWebForm, WEB_FORMS, WebForm, WebFormFields};
pub use service::{create, delete, find, list, rotate, update};
pub use submission::{Accepted, OpenForm, Submission, accept, open, org_of, refused};
