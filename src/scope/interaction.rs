//! The interactions that a SMART scope allows.

/// An interaction with a resource, which is one letter of a SMART scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interaction {
    /// `c`: create.
    Create,
    /// `r`: read a resource, its versions and its history.
    Read,
    /// `u`: update or patch.
    Update,
    /// `d`: delete.
    Delete,
    /// `s`: search, and read the history of a whole resource type.
    Search,
}

impl Interaction {
    /// All interactions, in the order of SMART's letters, `cruds`.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// Returns its letter in a scope.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }

    /// Returns its name as an English verb.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Search => "search",
        }
    }
}

/// A set of interactions, with one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Interactions(u8);

impl Interactions {
    /// Parses the end of a SMART scope.
    ///
    /// It is `read`, `write` or `*` in version 1, and one or more letters of `cruds`, in this order, in version 2.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let letters = match text {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => letters,
        };
        let mut rest = letters.chars().peekable();
        let found = Self::of(Interaction::ALL.into_iter().filter(|one| rest.next_if_eq(&one.letter()).is_some()));
        (found != Self::default() && rest.next().is_none()).then_some(found)
    }

    fn of(all: impl Iterator<Item = Interaction>) -> Self {
        all.fold(Self::default(), |set, one| Self(set.0 | 1 << one as u8))
    }

    pub(super) fn contains(self, one: Interaction) -> bool {
        self.0 & 1 << one as u8 != 0
    }

    pub(super) fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Interaction> {
        Interaction::ALL.into_iter().filter(move |&one| self.contains(one))
    }
}
