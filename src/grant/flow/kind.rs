//! What a grant has to say for itself.

use std::fmt;

use crate::{error::Error, grant::form::Form};

/// How one grant differs from the others. Sealed: a way of one's own to get tokens is a
/// [`TokenSource`](crate::TokenSource).
pub trait Flow: Clone + Default + fmt::Debug + Send + Sync + 'static {
    #[doc(hidden)]
    const GRANT_TYPE: &'static str;

    /// The parameters that may be given several times.
    #[doc(hidden)]
    const REPEATABLE: &'static [&'static str] = &["resource"];

    /// What is missing or wrong, before anything is sent.
    #[doc(hidden)]
    fn check(&self) -> Result<(), Error>;

    /// Appends what this grant alone sends.
    #[doc(hidden)]
    fn fill(&self, form: &mut Form) -> impl Future<Output = Result<(), Error>> + Send;

    /// A number that changes when the user's credentials do.
    #[doc(hidden)]
    fn version(&self) -> u64;
}
