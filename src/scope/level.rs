//! Whose data.

/// Whose data a SMART scope is about. The levels stand side by side: none takes in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// `patient/`: of the one patient in context.
    Patient,
    /// `user/`: what the user may see.
    User,
    /// `system/`: what the client may see with no user there.
    System,
}

impl Level {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Patient, Self::User, Self::System].into_iter().find(|one| one.as_str() == text)
    }

    /// As it stands before the slash.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }
}
