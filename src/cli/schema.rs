//! `schema`: prints the JSON Schema of the configuration, for editors, or the Markdown reference made from it.

use std::io::Write as _;

use super::arguments::{Failed, SchemaArguments};
use crate::config::schema;

/// Runs the command.
pub(super) fn run(arguments: &SchemaArguments) -> Result<(), Failed> {
    let text = if arguments.markdown { schema::markdown() } else { format!("{:#}\n", schema::schema()) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
