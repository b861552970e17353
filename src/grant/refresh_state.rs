//! The refresh token that a grant holds, and whether it is saved.

use crate::{
    error::Error,
    grant::flow::behavior::{Flow, RefreshPolicy},
    secret_string::SecretString,
};

/// A refresh token, and the credentials that it belongs to.
#[derive(Default)]
pub(crate) struct RefreshState {
    pub(crate) current: Option<SecretString>,
    is_saved: bool,
    is_refused: bool,
    /// The refresh token that the user gave.
    initial: Option<SecretString>,
    /// The version of the user's credentials.
    version: u64,
}

impl RefreshState {
    /// Starts again from the user's refresh token if the credentials have changed or the current one was refused.
    pub(crate) async fn reload_changed_credentials<F: Flow>(&mut self, flow: &F) -> Result<(), Error> {
        let version = flow.version();
        let is_new = F::REFRESH == RefreshPolicy::Only && self.initial.is_none();
        if is_new || self.is_refused || self.version != version {
            let initial = flow.initial_refresh_token().await?;
            // If it is the same one as before, it is used up. A second use would look like theft.
            if initial.is_none() || !is_same(self.initial.as_ref(), initial.as_ref()) {
                *self = Self { current: initial.clone(), is_saved: true, initial, ..Self::default() };
            }
            (self.is_refused, self.version) = (false, version);
        }
        Ok(())
    }

    /// Notes that the server refused the current refresh token.
    pub(crate) fn set_refused(&mut self, is_refused: bool) {
        self.is_refused = is_refused;
    }

    /// Replaces the refresh token and saves the new one.
    pub(crate) async fn replace<F: Flow>(&mut self, new: SecretString, flow: &F) {
        self.is_saved = self.is_saved && is_same(self.current.as_ref(), Some(&new));
        // It is stored before it is saved: the deadline of the renewal may end the saving.
        self.current = Some(new);
        self.save(flow).await;
    }

    /// Saves the refresh token if it is not saved yet.
    pub(crate) async fn save<F: Flow>(&mut self, flow: &F) {
        if let Some(refresh_token) = self.current.as_ref().filter(|_| !self.is_saved) {
            self.is_saved = flow.save(refresh_token).await;
        }
    }
}

fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(SecretString::expose) == other.map(SecretString::expose)
}
