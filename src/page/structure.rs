//! The structure of a page: what an object or array is by its position, and which members matter.

/// The position of an object or array in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Around the body.
    Outside,
    Root,
    /// The object under `_embedded`.
    Embedded,
    /// An array in that object.
    Records,
    Record,
    /// Inside a record, or inside data at an unexpected position, which could be a record.
    Nested,
    /// A link object, or an object that contains some.
    Links,
}

/// The kind of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerKind {
    Object,
    Array,
}

/// The name of a member, if it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Href,
    Account,
    /// The `id` of a record.
    RecordId,
    Embedded,
    LinkObject,
    Total,
    TotalPages,
    Other,
}

/// An open object or array.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) place: Place,
    /// The current member of an object; `Other` in an array.
    pub(super) member: Member,
    /// How often an object had the member with the account's id.
    pub(super) account_ids: usize,
}

/// The members of the root object that hold link objects (those of HAL, and those of monthly usage).
const LINK_MEMBERS: [&[u8]; 7] = [b"_links", b"first", b"last", b"next", b"prev", b"self", b"show"];

impl Member {
    /// The member of this name in a container. The account's member and `href` matter in every one.
    pub(super) fn named(name: &[u8], place: Place, account_field: Option<&[u8]>) -> Self {
        match name {
            name if account_field == Some(name) => Self::Account,
            b"href" => Self::Href,
            b"id" if place == Place::Record => Self::RecordId,
            _ if place != Place::Root => Self::Other,
            b"_embedded" => Self::Embedded,
            b"total" => Self::Total,
            b"total_pages" => Self::TotalPages,
            name if LINK_MEMBERS.contains(&name) => Self::LinkObject,
            _ => Self::Other,
        }
    }
}

impl Container {
    pub(super) fn new(place: Place) -> Self {
        Self { place, member: Member::Other, account_ids: 0 }
    }

    /// The position of an object or array that is the current value; none where a page has no such data.
    pub(super) fn place_of(&self, kind: ContainerKind) -> Option<Place> {
        Some(match (self.place, kind, self.member) {
            (Place::Outside, ContainerKind::Object, _) => Place::Root,
            (Place::Root, ContainerKind::Object, Member::Embedded) => Place::Embedded,
            (Place::Root, ContainerKind::Object, Member::LinkObject)
            | (Place::Links, ContainerKind::Object, _) => Place::Links,
            (Place::Embedded, ContainerKind::Array, _) => Place::Records,
            (Place::Records, ContainerKind::Object, _) => Place::Record,
            (Place::Record | Place::Nested, ..) => Place::Nested,
            _ => return None,
        })
    }

    /// Whether the current value matters if it is a scalar. Most do not.
    #[inline]
    pub(super) const fn scalar_matters(&self) -> bool {
        !matches!(self.member, Member::Other)
            || matches!(self.place, Place::Outside | Place::Embedded | Place::Records)
    }
}
