//! The configuration: one YAML file, checked as a whole.
//!
//! Each key is declared once (`key`), in the module of its section (`server`, `upstream`, ...). `schema` makes the
//! JSON Schema and the reference from the same declarations. Reading has two steps. The modules of the sections get
//! the values of their keys from the `reader`, which walks the tree of `node`. Each fault is recorded with line,
//! column and key path, and reading continues. Then `check` and `tenants` check the values against each other. No
//! later code needs to check the resulting [`Config`] again.
//!
//! Secrets are read here as well. A missing secret affects only its tenant and is not a fault of the file: the
//! credential then holds the reason instead of the secret.
//!
//! Deliberately absent: includes, templates, environment variables inside values (secrets have `env:`), and other
//! file formats.

mod address;
mod cache;
mod check;
mod credential;
mod endpoints;
pub mod environment;
pub mod fault;
pub mod forwarding;
mod key;
mod kind;
mod limits;
mod listeners;
mod load;
mod node;
mod object;
mod output;
mod policy;
mod reader;
pub mod schema;
pub mod secret;
mod seller;
mod server;
mod settings;
mod spelling;
mod tenant_entry;
mod tenants;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use fault::{Fault, Faults, Severity};
pub use load::{changes_that_need_restart, load, parse};
pub use secret::SecretPlace;
pub use settings::{
    Algorithm, Authentication, BasicEncoding, Cache, CacheRule, ClientLimit, ClosedPeriod, Config,
    ConfiguredCredential, ConfiguredEndpoint, DataListener, Limits, Listen, Log, LogFormat, MetricsSettings,
    OriginDirective, Overrides, Rate, Server, UnixSocket, Upstream, UpstreamLimit,
};
