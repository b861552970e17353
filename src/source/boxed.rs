//! A source whose type is forgotten.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{
    error::Error,
    source::{
        narrowing::Narrowing,
        token_source::{Reason, TokenSource},
    },
    token::AccessToken,
};

/// Any source, behind one type: for a client that chooses its grant at run time, or that does not want it in its own
/// type's name. Cheap to clone.
///
/// ```
/// use tower_bearer::{BearerAuthLayer, BoxTokenSource, FixedToken};
///
/// struct Sdk {
///     auth: BearerAuthLayer<BoxTokenSource>,
/// }
/// # let sdk = Sdk { auth: BearerAuthLayer::new(BoxTokenSource::new(FixedToken::new("t")?)) };
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone)]
pub struct BoxTokenSource(Arc<dyn Erased>);

type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`TokenSource`] in a form that can be a trait object.
trait Erased: Send + Sync {
    fn obtain(&self, why: Reason) -> Asking<'_, AccessToken>;
    fn credentials_version(&self) -> u64;
    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource>;
    fn revoke<'a>(&'a self, token: &'a AccessToken) -> Asking<'a, ()>;
}

impl<T: TokenSource> Erased for T {
    fn obtain(&self, why: Reason) -> Asking<'_, AccessToken> {
        Box::pin(TokenSource::obtain(self, why))
    }

    fn credentials_version(&self) -> u64 {
        TokenSource::credentials_version(self)
    }

    fn narrowed(&self, to: &Narrowing) -> Option<BoxTokenSource> {
        TokenSource::narrowed(self, to).map(BoxTokenSource::new)
    }

    fn revoke<'a>(&'a self, token: &'a AccessToken) -> Asking<'a, ()> {
        Box::pin(TokenSource::revoke(self, token))
    }
}

impl BoxTokenSource {
    /// Forgets the type of `source`.
    pub fn new(source: impl TokenSource) -> Self {
        Self(Arc::new(source))
    }
}

impl TokenSource for BoxTokenSource {
    fn obtain(&self, why: Reason) -> impl Future<Output = Result<AccessToken, Error>> + Send {
        self.0.obtain(why)
    }

    fn credentials_version(&self) -> u64 {
        self.0.credentials_version()
    }

    fn narrowed(&self, to: &Narrowing) -> Option<Self> {
        self.0.narrowed(to)
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.0.revoke(token).await
    }
}

impl fmt::Debug for BoxTokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxTokenSource")
    }
}
