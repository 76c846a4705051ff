//! The five endpoints: path, scope, and the members of their records.

use super::json::{ObjectText, Value};
use super::tenants::Scope;

/// The position of the account's id, in every endpoint that has it.
const ACCOUNT: usize = 1;

pub(super) const ACCOUNT_MEMBERS: [&str; 4] = ["id", "name", "company_name", "status"];
pub(super) const PRODUCT_MEMBERS: [&str; 5] = ["id", "name", "family", "unit_of_measure", "charge_type"];
pub(super) const SUBSCRIPTION_MEMBERS: [&str; 21] = [
    "id",
    "account_id",
    "contract_number",
    "currency",
    "billing_period",
    "status",
    "term",
    "start_date",
    "end_date",
    "edition",
    "auto_renewal",
    "renewal_uplift",
    "product_id",
    "quantity",
    "unit_price",
    "billing_frequency",
    "pricing_model",
    "concurrent",
    "seasonal",
    "contract_line_start_date",
    "contract_line_end_date",
];
pub(super) const INVOICE_MEMBERS: [&str; 15] = [
    "id",
    "account_id",
    "number",
    "invoice_line_number",
    "date",
    "due_date",
    "currency",
    "total_invoice_amount",
    "product_id",
    "description",
    "product_name",
    "quantity",
    "rate",
    "amount",
    "total_tax_amount",
];
pub(super) const USAGE_MEMBERS: [&str; 15] = [
    "id",
    "account_id",
    "product_id",
    "aggr_product_id",
    "month",
    "type",
    "description",
    "currency",
    "direction",
    "resolution",
    "unit",
    "price",
    "wallet_name",
    "number_of_units",
    "total_amount",
];

/// An endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Accounts,
    Products,
    Subscriptions,
    Invoices,
    MonthlyUsage,
}

/// The names of the members that the records of an endpoint have.
pub(super) struct Members<'a> {
    endpoint: Endpoint,
    account_field: &'a str,
}

impl Endpoint {
    const ALL: [Self; 5] =
        [Self::Accounts, Self::Products, Self::Subscriptions, Self::Invoices, Self::MonthlyUsage];

    /// The endpoint at exactly this path.
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

    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Accounts => Scope::Accounts,
            Self::Products => Scope::Products,
            Self::Subscriptions => Scope::Subscriptions,
            Self::Invoices => Scope::Invoices,
            Self::MonthlyUsage => Scope::Usage,
        }
    }

    /// The member of `_embedded` that holds the records.
    pub(super) const fn embedded(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Products => "products",
            Self::Subscriptions => "subscriptions",
            Self::Invoices => "invoices",
            Self::MonthlyUsage => "usage",
        }
    }

    /// The members of its records, under their documented names.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Accounts => &ACCOUNT_MEMBERS,
            Self::Products => &PRODUCT_MEMBERS,
            Self::Subscriptions => &SUBSCRIPTION_MEMBERS,
            Self::Invoices => &INVOICE_MEMBERS,
            Self::MonthlyUsage => &USAGE_MEMBERS,
        }
    }
}

impl<'a> Members<'a> {
    /// `account_field` is the name of the member that has the account's id.
    pub(super) fn new(endpoint: Endpoint, account_field: &'a str) -> Self {
        Self { endpoint, account_field }
    }

    /// The position of the member that has the account's id.
    pub(super) fn account(&self) -> Option<usize> {
        match self.endpoint {
            Endpoint::Accounts | Endpoint::Products => None,
            Endpoint::Subscriptions | Endpoint::Invoices | Endpoint::MonthlyUsage => Some(ACCOUNT),
        }
    }

    /// The position of the member of this name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names().position(|member| member == name)
    }

    /// The record as a JSON object.
    pub(super) fn object(&self, values: &[Value]) -> String {
        let present = self.names().zip(values).filter_map(|(name, value)| Some((name, value.json()?)));
        present.fold(ObjectText::new(), |object, (name, json)| object.literal(name, json)).finish()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let account = self.account();
        let names = self.endpoint.members().iter().enumerate();
        names.map(move |(position, name)| if Some(position) == account { self.account_field } else { *name })
    }
}
