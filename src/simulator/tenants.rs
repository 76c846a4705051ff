//! The tenants of the simulated Talkdesk: Organizations and direct customers, their Instances, their OAuth clients
//! with the scopes granted, and the sample tenants.
//!
//! Secrets are not here: they are made at start (`credentials.rs`).

/// A Talkdesk account that can have an OAuth client: an Organization's, or an Instance's own.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The account's name, which is in the token URL.
    pub account: String,
    /// The Organization that it is, or that it is under (`Talkdesk` for direct customers).
    pub organization: String,
    /// The plan, of an Instance.
    pub plan: Option<String>,
    /// The Instances whose data its client sees.
    pub instances: Vec<Instance>,
    /// Its OAuth client, if it has one.
    pub client: Option<Client>,
    /// Whether the API answers its client at all: not for customers of a reseller, nor on other plans.
    pub api_access: bool,
}

/// An Instance, which Talkdesk also calls Account.
#[derive(Clone, Debug)]
pub struct Instance {
    /// 24 hex digits.
    pub id: String,
    /// Its name, as `josephpinetrees`.
    pub name: String,
    /// The company's name.
    pub company_name: String,
    /// `ACTIVE`, `CHURNED` and so on.
    pub status: String,
    /// How many invoice lines it has.
    pub invoices: usize,
}

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// How it authenticates.
    pub authentication: Authentication,
    /// What it was granted.
    pub scopes: Vec<Scope>,
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// HTTP Basic with a secret.
    Secret,
    /// A signed assertion (`private_key_jwt`).
    PrivateKey {
        /// The `kid` that the assertion must name.
        key_id: String,
        /// What it must be signed with.
        algorithm: Algorithm,
    },
}

/// A signature algorithm of client assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Instance {
    /// An active Instance with this many invoice lines.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, invoices: usize) -> Self {
        let name = name.into();
        let company_name = format!("{name} Ltd.");
        Self { id: id.into(), name, company_name, status: "ACTIVE".to_owned(), invoices }
    }
}

impl Client {
    /// A client with a secret and every scope.
    #[must_use]
    pub fn with_secret(id: impl Into<String>) -> Self {
        Self { id: id.into(), authentication: Authentication::Secret, scopes: Scope::ALL.to_vec() }
    }
}

impl Tenant {
    /// An Organization with these Instances and a client that sees them all.
    #[must_use]
    pub fn organization(account: impl Into<String>, client: Client, instances: Vec<Instance>) -> Self {
        let account = account.into();
        let organization = account.clone();
        Self { account, organization, plan: None, instances, client: Some(client), api_access: true }
    }

    /// An Instance sold by Talkdesk itself, whose client sees nothing else.
    #[must_use]
    pub fn direct(instance: Instance, client: Option<Client>) -> Self {
        Self {
            account: instance.name.clone(),
            organization: "Talkdesk".to_owned(),
            plan: Some("cx-cloud-elite".to_owned()),
            instances: vec![instance],
            client,
            api_access: true,
        }
    }
}

/// A scope of the Billing Insights API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// List the Accounts.
    Accounts,
    /// Read the product catalogue.
    Products,
    /// Read contracts.
    Subscriptions,
    /// Read invoice lines.
    Invoices,
    /// Read usage.
    Usage,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 5] =
        [Self::Accounts, Self::Products, Self::Subscriptions, Self::Invoices, Self::Usage];

    /// As it is written in a token request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "express-accounts:read",
            Self::Products => "express-products:read",
            Self::Subscriptions => "express-accounts-subscriptions:read",
            Self::Invoices => "express-accounts-invoices:read",
            Self::Usage => "express-accounts-usage:read",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

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

/// The tenants of the samples, in which every kind of customer occurs. The ids are fixed, so that a configuration
/// can name them.
pub(super) fn samples() -> Vec<Tenant> {
    vec![
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
    ]
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
