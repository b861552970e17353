//! The level of a SMART scope.

/// The level of a SMART scope, which says whose data it gives access to. No level includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// `patient/`: the data of the one patient in context.
    Patient,
    /// `user/`: the data that the user may access.
    User,
    /// `system/`: the data that the client may access without a user.
    System,
}

impl Level {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Patient, Self::User, Self::System].into_iter().find(|one| one.as_str() == text)
    }

    /// Returns its text, without the slash.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }
}
