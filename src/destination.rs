//! Where the token may go.

use std::sync::Arc;

use http::Uri;

use crate::{error::Error, origin::Origin, transport};

/// The rule about URIs: which are the API's, and whether the way there is private.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    /// `None`: all are.
    pub(crate) origins: Option<Arc<[Origin]>>,
    pub(crate) plain_http: bool,
}

impl Destinations {
    /// Whether a request to `uri` is to carry the token.
    ///
    /// # Errors
    /// When it is, but must not; or when that cannot be told.
    #[inline]
    pub(crate) fn covers(&self, uri: &Uri) -> Result<bool, Error> {
        // As nearly all are written. To take an authority apart costs more than all else that a hit does.
        let plainly = match (&self.origins, uri.authority()) {
            (None, _) => uri.scheme_str() == Some("https"),
            (Some(origins), Some(authority)) => origins
                .iter()
                .any(|origin| (origin.is_secure || self.plain_http) && origin.is_written(uri.scheme_str(), authority)),
            (Some(_), None) => false,
        };
        if plainly { Ok(true) } else { self.covers_not_plainly(uri) }
    }

    fn covers_not_plainly(&self, uri: &Uri) -> Result<bool, Error> {
        if let Some(origins) = &self.origins
            && !is_listed(uri, origins)?
        {
            return Ok(false);
        }
        // Without a host, the connection below decides where the request goes, and it is made already.
        if self.plain_http || transport::is_secure(uri) || uri.host().is_none() {
            return Ok(true);
        }
        Err(Error::insecure(uri.scheme_str(), uri.host()))
    }
}

fn is_listed(uri: &Uri, origins: &[Origin]) -> Result<bool, Error> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::unplaced());
    };
    let listed = origins.iter().any(|origin| origin.covers(scheme, authority));
    if !listed {
        tracing::debug!(scheme, host = authority.host(), "not one of the API's origins: no token");
    }
    Ok(listed)
}
