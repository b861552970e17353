//! The design of kube-client's authorization: a lock that is awaited, a boxed future, and a header made for each
//! request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use tokio::sync::Mutex;
use tower::{BoxError, filter::AsyncPredicate};

struct Token {
    text: String,
    expires: SystemTime,
}

#[derive(Clone)]
pub(crate) struct Refreshable(Arc<Mutex<Token>>);

impl Refreshable {
    pub(crate) fn new(token: &str) -> Self {
        let expires = SystemTime::now() + Duration::from_hours(48);
        Self(Arc::new(Mutex::new(Token { text: token.to_owned(), expires })))
    }

    async fn header(&self) -> Result<HeaderValue, BoxError> {
        let token = self.0.lock().await;
        // kube-client renews the token here.
        if SystemTime::now() + Duration::from_mins(1) >= token.expires {
            return Err("expired".into());
        }
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.text))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl<B: Send + 'static> AsyncPredicate<Request<B>> for Refreshable {
    type Future = BoxFuture<'static, Result<Request<B>, BoxError>>;
    type Request = Request<B>;

    fn check(&mut self, mut request: Request<B>) -> Self::Future {
        let token = self.clone();
        Box::pin(async move {
            request.headers_mut().insert(AUTHORIZATION, token.header().await?);
            Ok(request)
        })
    }
}
