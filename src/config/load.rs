//! Loads a file: the result is a configuration, or all faults of the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::environment::Environment;
use super::fault::{Fault, Faults};
use super::key::{AnyKey, Kind as _, Section, keys};
use super::kind::List;
use super::object::Object;
use super::reader::{Ledger, YamlValue, values};
use super::settings::Config;
use super::tenant_entry::{INSTANCE, ORGANIZATION};
use super::tenants::Surroundings;
use super::{cache, check, endpoints, limits, node, output, policy, server, tenant_entry, tenants, upstream};

keys! {
    KEYS;
    SERVER: Section = "server", Section::new(server::KEYS), Optional,
        "Where the proxy listens, and who may speak to it.";
    UPSTREAM: Section = "upstream",
        Section { removed: upstream::REMOVED, ..Section::new(upstream::KEYS) }, Optional,
        "Talkdesk's API.";
    ENTITLEMENT: Section = "entitlement", Section::new(policy::KEYS), Optional,
        "The operator's part in who may ask for what.";
    pub(super) ORGANIZATIONS: List<Section> = "organizations",
        List { takes_null: true, ..List::of(ORGANIZATION) }, Default("[]"),
        "Organizations: a partner's, each with one OAuth client for all Instances under it.";
    pub(super) INSTANCES: List<Section> = "instances",
        List { takes_null: true, ..List::of(INSTANCE) }, Default("[]"),
        "Instances with a client of their own. Those under an Organization above need no entry, but may have \
         one without a credential, for `plan` or `enabled`.";
    LIMITS: Section = "limits", Section::new(limits::KEYS), Optional, "How fast, and how much at once.";
    CACHE: Section = "cache", Section::new(cache::KEYS), Optional,
        "What is kept, in memory, and for how long.";
    LOG: Section = "log", Section::new(output::LOG_KEYS), Optional restart(log),
        "What is written about requests.";
    METRICS: Section = "metrics", Section::new(output::METRICS_KEYS), Optional,
        "What is counted per tenant, at `/metrics`.";
}

/// The whole file.
pub(super) static ROOT: Section = Section {
    takes_null: false,
    description: "The configuration of billing-insights-proxy. Only tenants are needed (`organizations`, \
                  `instances`); everything else has a default.",
    constrain: |schema| {
        let one = json!({ "type": "array", "minItems": 1 });
        schema["anyOf"] = json!([
            { "required": ["organizations"], "properties": { "organizations": one } },
            { "required": ["instances"], "properties": { "instances": one } }
        ]);
    },
    ..Section::new(KEYS)
};

/// The maximum size of a file in bytes; a larger one is not a configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a configuration from its file.
///
/// # Errors
/// [`Faults`] with every fault of the file, or with the reason why it can't be read.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Faults> {
    let file_name = path.display().to_string();
    let source = read(path).map_err(|message| Faults::new(&file_name, vec![Fault::of_file(message)]))?;
    let directory = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Messages about a missing file then show its full path.
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    parse(&source, &file_name, &directory, environment)
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            "there is no such file; begin with a copy of config.example.yaml, or name another".to_owned()
        } else {
            format!("the file can't be opened ({error})")
        }
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("the file can't be read ({error})"))?;
    String::from_utf8(bytes).or_else(|error| {
        // A character that is cut by the size limit is not an encoding error.
        if error.as_bytes().len() as u64 > MAX_BYTES {
            return Ok(String::from_utf8_lossy(error.as_bytes()).into_owned());
        }
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Err(format!("the file is not UTF-8 text (in line {line}); write YAML in UTF-8"))
    })
}

/// Reads a configuration from its text. Relative paths are resolved against `directory`.
///
/// # Errors
/// [`Faults`] with every fault of the text; a syntax error is reported alone.
pub fn parse(
    source: &str,
    file_name: &str,
    directory: &Path,
    environment: &Environment,
) -> Result<Config, Faults> {
    let single = |fault| Faults::new(file_name, vec![fault]);
    if source.len() as u64 > MAX_BYTES {
        return Err(single(Fault::of_file("the file is larger than 4 MiB, so it is no configuration")));
    }
    let tree = node::read(source).map_err(single)?;
    let ledger = Ledger::default();
    let config = assemble(&YamlValue::root(&tree, &ledger), directory, environment, &ledger);
    let (errors, warnings) = ledger.close();
    match config {
        Some(config) if errors.is_empty() => {
            Ok(Config { warnings: Faults::new(file_name, warnings).into_vec(), ..config })
        }
        _ => Err(Faults::new(file_name, errors)),
    }
}

/// Builds the configuration. The result is valid only if the ledger has no error; `None` if the top level is not a
/// mapping.
fn assemble(
    root: &YamlValue<'_>,
    directory: &Path,
    environment: &Environment,
    ledger: &Ledger,
) -> Option<Config> {
    if root.is_null() {
        ledger.error(
            &root.place,
            "the file is empty; write at least one tenant, under `organizations` or `instances`",
        );
        return None;
    }
    let top = ROOT.read(root)?;
    let server = server::read(&top.section(&SERVER), ledger)?;
    let upstream_section = top.section(&UPSTREAM);
    let upstream = upstream::read(&upstream_section, directory, ledger)?;
    let (policy, rejected_grace) =
        policy::read(&top.section(&ENTITLEMENT), &upstream.narrowing, upstream.instance_query_parameters)?;
    let endpoints =
        endpoints::read(&upstream_section.get(&upstream::ENDPOINTS)?, &upstream.narrowing, ledger)?;
    let has_tenants = |key| top.value(key).is_some_and(|list| !list.is_empty());
    if ![&ORGANIZATIONS, &INSTANCES].into_iter().any(has_tenants) {
        top.missing(&ORGANIZATIONS, "write at least one tenant, there or under `instances`");
    }
    let organizations: Vec<Object<'_>> = values(top.get(&ORGANIZATIONS)?);
    let organizations = tenant_entry::organizations(&organizations, ledger);
    let instances: Vec<Object<'_>> = values(top.get(&INSTANCES)?);
    let instances = tenant_entry::instances(&instances, ledger);
    let surroundings =
        Surroundings { addresses: &upstream.addresses, policy: &policy, directory, environment, ledger };
    let built = tenants::build(&organizations, &instances, &surroundings);
    if let Some(default_tenant) = &server.default_tenant {
        check::named_tenant(default_tenant, &built.tenants, &instances, ledger);
    }
    for listener in &server.listeners {
        listener.check(&built.tenants, &instances, ledger);
    }
    let limits = limits::read(&top.section(&LIMITS))?;
    let max_response_bytes = upstream.upstream.max_response_bytes;
    let (cache, endpoints) = cache::read(&top.section(&CACHE), endpoints, max_response_bytes, ledger)?;
    Some(Config {
        server: server.server,
        upstream: upstream.upstream,
        policy,
        rejected_grace,
        endpoints,
        tenants: built.tenants,
        credentials: built.credentials,
        limits,
        cache,
        log: output::read_log(&top.section(&LOG), directory)?,
        metrics: output::read_metrics(&top.section(&METRICS))?,
        warnings: Vec::new(),
    })
}

/// The paths of the keys whose change from one configuration to another needs a restart.
#[must_use]
pub fn changes_that_need_restart(old: &Config, new: &Config) -> Vec<String> {
    changed_below("", ROOT.keys, old, new)
}

fn changed_below(prefix: &str, keys: &[&AnyKey], old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        changed.extend(changed_below(&format!("{path}."), key.kind.keys(), old, new));
        if key.differs.iter().any(|differs| differs(old, new)) {
            changed.push(path);
        }
    }
    changed
}
