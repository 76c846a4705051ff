//! map

pub mod domain;
pub mod rfc9111;
pub mod clock;
pub mod json;
pub mod links;
pub mod inspect;
pub mod rewrite;
