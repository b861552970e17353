//! The token source of one user.

use std::sync::Arc;

use crate::{
    asking,
    error::Error,
    grant::on_behalf_of::{subject::Subject, subject_end::SubjectEnd, user_grant::UserGrant},
    source::{BoxTokenSource, Narrowing, Reason, SourceIdentity, TokenSource},
    token::AccessToken,
};

/// The tokens of one user. They end together with the user's own token.
///
/// It keeps no refresh token: that would outlive the user's token, and the next exchange is as good.
#[derive(Clone)]
pub(crate) struct UserSource {
    grant: Arc<dyn UserGrant>,
    subject: Subject,
    end: SubjectEnd,
    narrowing: Option<Narrowing>,
}

impl UserSource {
    pub(crate) fn new(grant: Arc<dyn UserGrant>, subject: Subject) -> Self {
        let end = SubjectEnd::of(&subject);
        Self { grant, subject, end, narrowing: None }
    }
}

impl TokenSource for UserSource {
    async fn obtain(&self, _why: Reason) -> Result<AccessToken, Error> {
        asking::announces();
        self.end.check()?;
        let token = self.grant.obtain(&self.subject, self.narrowing.as_ref()).await?;
        self.end.cap(token)
    }

    fn credentials_version(&self) -> u64 {
        self.grant.credentials_version()
    }

    fn client(&self) -> Option<u64> {
        self.grant.client()
    }

    fn issuer(&self) -> Option<u64> {
        self.grant.issuer()
    }

    fn check(&self) -> Result<(), Error> {
        self.end.check()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        Some(Self { narrowing: Some(to.clone()), ..self.clone() }.boxed())
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.grant.revoke(token).await
    }

    async fn identity(&self) -> Result<Option<SourceIdentity>, Error> {
        let identity = self.grant.identity(self.narrowing.as_ref()).await?;
        let identity = identity.with("user", self.subject.token.expose());
        Ok(Some(match &self.subject.actor {
            Some(actor) => identity.with("actor", actor.expose()),
            None => identity,
        }))
    }
}
