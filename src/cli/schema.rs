//! `schema`: the JSON Schema of the configuration, for editors; and the reference of every key, made from it.

use std::io::Write as _;

use super::{Failed, SchemaArguments};
use crate::config::schema;

/// Prints it.
pub(super) fn run(arguments: &SchemaArguments) -> Result<(), Failed> {
    let text = if arguments.markdown { schema::markdown() } else { schema::SCHEMA.to_owned() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
