//! What may be done with a resource.

/// What may be done with a resource: a letter of a SMART scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interaction {
    /// `c`: create.
    Create,
    /// `r`: read one, any version of it, and its history.
    Read,
    /// `u`: update or patch.
    Update,
    /// `d`: delete.
    Delete,
    /// `s`: search, and the history of all of a type.
    Search,
}

impl Interaction {
    /// In the order of SMART's letters, `cruds`.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// Its letter in a scope.
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

    /// The verb.
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

/// A set of them, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Interactions(u8);

impl Interactions {
    /// The end of a SMART scope: v1's `read`, `write` or `*`, or letters of `cruds` in order, at least one.
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
