//! Why a body must not be sent to the client.

/// Why a body must not be sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not JSON, or it is nested too deeply. The text says what is wrong, and where.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// It contains, or may contain, records of another account.
    #[error("{0}")]
    AccountViolation(AccountViolation),
}

/// Why a body failed the account check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountViolation {
    /// A record has the id of another account.
    #[error("a record carries another account's id")]
    Foreign,
    /// A record has no account id, or several.
    #[error("a record does not carry its account's id exactly once")]
    Unmarked,
    /// There is data outside of the records.
    #[error("the body holds data outside of its records, which can't be checked")]
    Elsewhere,
}
