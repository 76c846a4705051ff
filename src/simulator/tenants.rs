//! Who exists at the simulated Talkdesk: Organization accounts and direct customers, their Instances, and their
//! OAuth clients.
//!
//! Deliberately absent: secrets, which are made at start (`credentials.rs`), and any judgement about who may call
//! the API beyond [`Tenant::api_access`].

use super::scope::Scope;

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
    /// How it proves itself.
    pub authentication: Authentication,
    /// What it was granted.
    pub scopes: Vec<Scope>,
}

/// How a client proves itself at the token endpoint.
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
