//! The tenants of the simulated Talkdesk, their OAuth clients, the endpoints of the API with their scopes, and the sample
//! tenants.
//!
//! Secrets are not part of a tenant: `credentials.rs` generates them at each start.

/// A Talkdesk account that can have an OAuth client: an Organization, or an Instance that Talkdesk sells directly.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The account's name, as in the token URL.
    pub account: String,
    /// The Instances whose data its client can read.
    pub instances: Vec<Instance>,
    /// Its OAuth client, if it has one.
    pub client: Option<Client>,
    /// Whether its client may use the API. Customers of a reseller and customers on other plans may not.
    pub api_access: bool,
}

/// An Instance. The API calls it an account.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id: 24 hexadecimal digits.
    pub id: String,
    /// Its name, for example `josephpinetrees`.
    pub name: String,
    /// Its status, for example `ACTIVE` or `CHURNED`.
    pub status: String,
    /// The number of its invoice lines.
    pub invoices: usize,
}

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// How it authenticates.
    pub authentication: Authentication,
    /// The endpoints whose scopes it was granted.
    pub endpoints: Vec<Endpoint>,
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
        /// The algorithm that the assertion must be signed with.
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
        Self { id: id.into(), name: name.into(), status: "ACTIVE".to_owned(), invoices }
    }
}

impl Client {
    /// A client with a secret and every scope.
    #[must_use]
    pub fn with_secret(id: impl Into<String>) -> Self {
        Self { id: id.into(), authentication: Authentication::Secret, endpoints: Endpoint::ALL.to_vec() }
    }
}

impl Tenant {
    /// An Organization with these Instances.
    #[must_use]
    pub fn organization(account: impl Into<String>, client: Client, instances: Vec<Instance>) -> Self {
        Self { account: account.into(), instances, client: Some(client), api_access: true }
    }

    /// An Instance that Talkdesk sells directly. Its client can read only this Instance.
    #[must_use]
    pub fn direct(instance: Instance, client: Option<Client>) -> Self {
        Self { account: instance.name.clone(), instances: vec![instance], client, api_access: true }
    }
}

/// An endpoint of the API. Each endpoint has a scope of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after the records that it answers with")]
pub enum Endpoint {
    Accounts,
    Products,
    Subscriptions,
    Invoices,
    MonthlyUsage,
}

impl Endpoint {
    pub(super) const ALL: [Self; 5] =
        [Self::Accounts, Self::Products, Self::Subscriptions, Self::Invoices, Self::MonthlyUsage];

    /// The endpoint with this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Accounts => "/express/accounts",
            Self::Products => "/express/products",
            Self::Subscriptions => "/express/subscriptions",
            Self::Invoices => "/express/invoices",
            Self::MonthlyUsage => "/express/usage/month",
        }
    }

    /// The scope that a token needs.
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Self::Accounts => "express-accounts:read",
            Self::Products => "express-products:read",
            Self::Subscriptions => "express-accounts-subscriptions:read",
            Self::Invoices => "express-accounts-invoices:read",
            Self::MonthlyUsage => "express-accounts-usage:read",
        }
    }

    /// The member of `_embedded` that contains the records.
    pub(super) const fn embedded(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Products => "products",
            Self::Subscriptions => "subscriptions",
            Self::Invoices => "invoices",
            Self::MonthlyUsage => "usage",
        }
    }
}

/// The id of the sample Instance with number 0. The id of another one is this id plus its number.
const FIRST_SAMPLE_ID: u128 = 0x5ea7_5fe7_aa22_4700_012e_ae40;

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

/// The sample tenants. They include every kind of customer. The ids are fixed, so that a configuration can name them.
pub(super) fn samples() -> Vec<Tenant> {
    // Number 0 is the Instance `josephpinetrees` in Talkdesk's documentation. The direct customers have the numbers
    // that follow.
    let acme_number = |number| if number == 0 { 0 } else { 15 + number };
    // The twelve Instances have 400 invoice lines together.
    let acme_invoices = |number| if number < 4 { 34 } else { 33 };
    let stark = Client {
        endpoints: Endpoint::ALL.into_iter().filter(|endpoint| *endpoint != Endpoint::Invoices).collect(),
        ..Client::with_secret("d42a80e7f59b4c63")
    };
    let globex = Client {
        authentication: Authentication::PrivateKey {
            key_id: "k-2026-01".to_owned(),
            algorithm: Algorithm::Es256,
        },
        ..Client::with_secret("9b3d7e21c4a84f60")
    };
    let organization = |account: &str, client_id: &str, instances| {
        Tenant::organization(account, Client::with_secret(client_id), instances)
    };
    let direct = |name: &str, number, client_id: Option<&str>| {
        Tenant::direct(Instance::new(sample_id(number), name, 30), client_id.map(Client::with_secret))
    };
    vec![
        organization("acme", "2f1c9a0e5b7d4c31", instances(&ACME_INSTANCES, acme_number, acme_invoices)),
        organization(
            "northwind",
            "7c4a1e90d3b25f68",
            instances(&NORTHWIND_INSTANCES, |number| 32 + number, |_| 25),
        ),
        Tenant::direct(Instance::new(sample_id(1), "globex", 60), Some(globex)),
        direct("hooli", 3, Some("51d0f7a3c86e4b29")),
        Tenant { api_access: false, ..direct("initech", 2, Some("c08e6d5b17f94a32")) },
        Tenant { api_access: false, ..direct("umbrella", 4, Some("e6b94d02a71c4f85")) },
        direct("wonka", 5, None),
        organization(
            "soylent",
            "0b8f3c6e92d74a15",
            instances(&["soylent-green", "soylent-red"], |number| 48 + number, |_| 20),
        ),
        Tenant::organization(
            "stark",
            stark,
            instances(&["stark-tower", "stark-expo"], |number| 56 + number, |_| 20),
        ),
    ]
}

fn sample_id(number: usize) -> String {
    format!("{:024x}", FIRST_SAMPLE_ID + number as u128)
}

fn instances(
    names: &[&str],
    number_of: fn(usize) -> usize,
    invoices_of: fn(usize) -> usize,
) -> Vec<Instance> {
    let instance = |(index, name): (usize, &&str)| Instance {
        status: STATUSES[index % STATUSES.len()].to_owned(),
        ..Instance::new(sample_id(number_of(index)), *name, invoices_of(index))
    };
    names.iter().enumerate().map(instance).collect()
}
