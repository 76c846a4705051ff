//! The result of reading a body.

use super::links::Splice;

/// The result of reading a valid body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageContent {
    /// The positions of the API's origin in links.
    pub links: Vec<Splice>,
    /// The total counts.
    pub counts: TotalCounts,
    /// The data of this page.
    pub page: PageSummary,
    /// The hashes of the records' `id`s, in order. Records without an `id` are left out.
    pub record_ids: Vec<u64>,
}

/// The data of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSummary {
    /// Whether the body is a page: an object with `_embedded` or with links.
    pub is_page: bool,
    /// The number of records.
    pub records: u64,
    /// The hashed ids of the first and the last record; none if no record has an id.
    pub edges: Option<(u64, u64)>,
}

/// The total counts of a list, as stated at the top of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TotalCounts {
    /// `total`: the number of records.
    pub total: Count,
    /// `total_pages`: the number of pages.
    pub total_pages: Count,
}

impl TotalCounts {
    /// Whether the page states no counts.
    #[must_use]
    pub(crate) fn are_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// The value of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// The member is missing, or not a number but `null`, `true` or `false`.
    #[default]
    Absent,
    /// A non-negative integer.
    Number(u64),
    /// Any other value, or a repeated member.
    Unreadable,
}

impl Count {
    /// The count after one more member of its name: a number, or a value that is none.
    pub(super) fn with(self, number: Option<u64>) -> Self {
        match (self, number) {
            (Self::Absent, Some(number)) => Self::Number(number),
            _ => Self::Unreadable,
        }
    }
}
