//! Ready-made tenants: a small cast in which every kind of customer occurs, and crowds for tests at scale.
//!
//! Ids are fixed so that a configuration can name them; secrets are not here, they are made at start.
//!
//! Deliberately absent: the records of the tenants, which follow from their account ids.

use super::options::Options;
use super::scope::Scope;
use super::tenants::{Algorithm, Authentication, Client, Instance, Tenant};

/// The ids of Instances in the samples begin so; the rest is a number.
const SAMPLE_IDS: u128 = 0x5ea7_5fe7_aa22_4700_012e_ae40;

const ACME_INSTANCES: [&str; 12] = [
    "josephpinetrees",
    "roadrunner-supplies",
    "coyote-logistics",
    "desert-rockets",
    "tunnel-paint",
    "giant-magnets",
    "portable-holes",
    "jet-skates",
    "birdseed-express",
    "anvil-works",
    "spring-boots",
    "canyon-travel",
];

const NORTHWIND_INSTANCES: [&str; 4] = ["northwind-tea", "northwind-spices", "northwind-freight", "bluebay"];

const STATUSES: [&str; 6] = ["ACTIVE", "ACTIVE", "ACTIVE", "CHURNED", "IN_TRIAL", "INACTIVE"];

/// The sample tenants: `acme`, `northwind`, `soylent` and `stark` are Organizations, `globex`, `hooli`, `umbrella`
/// and `wonka` direct customers, and `initech` is a reseller's.
#[must_use]
pub fn samples() -> Options {
    Options::new(vec![
        organization("acme", "2f1c9a0e5b7d4c31", instances(&ACME_INSTANCES, &acme_id, acme_invoices)),
        organization(
            "northwind",
            "7c4a1e90d3b25f68",
            instances(&NORTHWIND_INSTANCES, &|number| id(32 + number), |_| 25),
        ),
        Tenant::direct(Instance::new(id(1), "globex", 60), Some(globex_client())),
        Tenant {
            organization: "Talkdesk Internal".to_owned(),
            ..direct("hooli", 3, Some(Client::with_secret("51d0f7a3c86e4b29")))
        },
        Tenant {
            organization: "Some Reseller".to_owned(),
            api_access: false,
            ..direct("initech", 2, Some(Client::with_secret("c08e6d5b17f94a32")))
        },
        Tenant {
            plan: Some("cx-cloud-essentials".to_owned()),
            api_access: false,
            ..direct("umbrella", 4, Some(Client::with_secret("e6b94d02a71c4f85")))
        },
        direct("wonka", 5, None),
        organization(
            "soylent",
            "0b8f3c6e92d74a15",
            instances(&["soylent-green", "soylent-red"], &|number| id(48 + number), |_| 20),
        ),
        stark(),
    ])
}

impl Options {
    /// So many Organizations (`organization-1` and on), Instances each and invoice lines each, for tests at scale.
    #[must_use]
    pub fn synthetic(organizations: usize, instances_each: usize, invoices_each: usize) -> Self {
        let tenants = (1..=organizations).map(|organization| {
            let instances = (1..=instances_each).map(|instance| {
                let number = (organization as u128) << 32 | instance as u128;
                Instance::new(
                    format!("5ea7{number:020x}"),
                    format!("instance-{organization}-{instance}"),
                    invoices_each,
                )
            });
            Tenant::organization(
                format!("organization-{organization}"),
                Client::with_secret(format!("c1{organization:014x}")),
                instances.collect(),
            )
        });
        Self::new(tenants.collect())
    }
}

fn id(number: usize) -> String {
    format!("{:024x}", SAMPLE_IDS + number as u128)
}

/// The first is the documentation's own `josephpinetrees`; the ids right after it belong to direct customers.
fn acme_id(number: usize) -> String {
    id(if number == 0 { 0 } else { 15 + number })
}

/// 400 lines over twelve Instances.
fn acme_invoices(number: usize) -> usize {
    if number < 4 { 34 } else { 33 }
}

fn instances(
    names: &[&str],
    id_of: &dyn Fn(usize) -> String,
    invoices_of: fn(usize) -> usize,
) -> Vec<Instance> {
    let instance = |(number, name): (usize, &&str)| Instance {
        status: STATUSES[number % STATUSES.len()].to_owned(),
        ..Instance::new(id_of(number), *name, invoices_of(number))
    };
    names.iter().enumerate().map(instance).collect()
}

fn organization(account: &str, client_id: &str, instances: Vec<Instance>) -> Tenant {
    Tenant::organization(account, Client::with_secret(client_id), instances)
}

fn direct(name: &str, number: usize, client: Option<Client>) -> Tenant {
    Tenant::direct(Instance::new(id(number), name, 30), client)
}

/// An Organization whose client was not granted the invoices.
fn stark() -> Tenant {
    let mut client = Client::with_secret("d42a80e7f59b4c63");
    client.scopes.retain(|scope| *scope != Scope::Invoices);
    let instances = instances(&["stark-tower", "stark-expo"], &|number| id(56 + number), |_| 20);
    Tenant::organization("stark", client, instances)
}

fn globex_client() -> Client {
    Client {
        authentication: Authentication::PrivateKey {
            key_id: "k-2026-01".to_owned(),
            algorithm: Algorithm::Es256,
        },
        ..Client::with_secret("9b3d7e21c4a84f60")
    }
}
