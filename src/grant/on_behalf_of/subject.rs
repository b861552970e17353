//! The tokens that a request gives: the user's, and that of the party that acts.

use crate::secret_string::SecretString;

/// The tokens that an [exchange](crate::grant::OnBehalfOf) is made for: the user's, and perhaps that of the party that acts.
///
/// `Debug` does not show them.
///
/// ```
/// use tower_bearer::grant::Subject;
///
/// let subject = Subject::new("mF_9.B5f-4.1JqM").with_actor("1JqM.B5f-4.mF_9");
/// assert!(!format!("{subject:?}").contains("B5f"));
/// ```
#[derive(Clone, Debug)]
pub struct Subject {
    pub(crate) token: SecretString,
    pub(crate) actor: Option<SecretString>,
}

impl Subject {
    /// Creates a subject from the user's token: the `subject_token` of a token exchange (RFC 8693 §2.1), or the `assertion` of
    /// the JWT bearer grant (RFC 7523 §2.1).
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self { token: token.into(), actor: None }
    }

    /// Sets the token of the party that acts, where it is another one for each request. Default: the
    /// [actor](crate::grant::TokenExchangeBuilder::actor_token) of the grant, if it has one.
    ///
    /// The JWT bearer grant has no actor, and gets no token for such a subject.
    #[must_use]
    pub fn with_actor(self, token: impl Into<SecretString>) -> Self {
        Self { actor: Some(token.into()), ..self }
    }
}
