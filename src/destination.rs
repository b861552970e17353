//! Where the token may be sent: the allowed origins, over a secure transport.

use std::sync::Arc;

use http::Uri;

use crate::{error::Error, origin::Origin, transport};

/// The destinations that the token may be sent to: the origins of the API, over a secure transport.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    /// `None` means any origin.
    pub(crate) origins: Option<Arc<[Origin]>>,
    pub(crate) plain_http: bool,
    /// Where requests go whose URI has no host.
    pub(crate) assumed: Option<Arc<Uri>>,
}

impl Destinations {
    /// Returns whether a request to `uri` carries the token.
    ///
    /// # Errors
    /// When it would go over an insecure transport, or when its origin is not known.
    #[inline]
    pub(crate) fn covers(&self, uri: &Uri) -> Result<bool, Error> {
        // Compared as text, which is inlined.
        let is_any_https = self.origins.is_none() && uri.scheme_str() == Some("https");
        if is_any_https || self.is_listed_as_written(uri) { Ok(true) } else { self.covers_parsed(uri) }
    }

    /// Returns whether the URI is written as one of the origins is. Nearly all are, and parsing the authority costs more than
    /// everything else that a hit does.
    fn is_listed_as_written(&self, uri: &Uri) -> bool {
        let (Some(origins), Some(authority)) = (&self.origins, uri.authority()) else { return false };
        origins
            .iter()
            .any(|origin| (origin.is_secure || self.plain_http) && origin.is_written(uri.scheme_str(), authority))
    }

    fn covers_parsed(&self, uri: &Uri) -> Result<bool, Error> {
        let uri = match &self.assumed {
            Some(assumed) if uri.host().is_none() => assumed,
            _ => uri,
        };
        if let Some(origins) = &self.origins
            && !is_listed(uri, origins)?
        {
            return Ok(false);
        }
        // Without a host, the connection below decides where the request goes. That connection exists already.
        if self.plain_http || transport::is_secure(uri) || uri.host().is_none() {
            return Ok(true);
        }
        Err(Error::insecure(uri))
    }
}

fn is_listed(uri: &Uri, origins: &[Origin]) -> Result<bool, Error> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::unplaced());
    };
    let listed = origins.iter().any(|origin| origin.covers(scheme, authority));
    if !listed {
        tracing::debug!(scheme, host = authority.host(), "not one of the listed origins: sent without a token");
    }
    Ok(listed)
}
