//! The names of [`page::links`](crate::page::links) that [`rewrite`](crate::rewrite) uses.

pub use crate::page::links::{ApiOrigin as Origin, Base, Splice, spliced};
