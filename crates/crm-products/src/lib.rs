//! Products: what an organization sells.
//!
//! They are vocabulary that all members share, like teams and tags: nobody sees a part of them only. Deals are made of them; a line of a
//! deal keeps the name and price that it was made with.

mod model;
mod service;

pub use model::{PRODUCTS, Product, ProductFields};
pub use service::{Products, create, delete, describe, find, list, update};
