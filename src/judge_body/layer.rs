//! The layer that puts the service below the middleware.

use std::{fmt, sync::Arc};

use http_body::Body;
use tower_layer::Layer;

use crate::{
    cache::TokenCache,
    error::Error,
    inner_service::CloneableService,
    judge_body::{
        content_type::ContentTypes,
        make_body::{BodyFn, Made, Wrapped},
        rule::BodyRule,
        service::{Judge, JudgeBody},
    },
    layer::BearerAuthLayer,
    service::BearerAuth,
};

/// A [`BearerAuthLayer`] that also finds rejections in the body of an answer.
/// [`judge_body`](BearerAuthLayer::judge_body) creates it, and its documentation says which answers are looked at.
pub struct JudgeBodyLayer<R, M = Wrapped> {
    auth: BearerAuthLayer<R>,
    judge: Judge<M>,
}

impl<R> BearerAuthLayer<R> {
    /// Adds a rule that finds rejections in the first `limit` bytes of an answer, for APIs that answer 200 to a token that they
    /// do not accept. Default: no body is looked at. Call it last: what it returns has only `content_types`, `body` and `cache`.
    ///
    /// Where the rule of [`judge_by`](Self::judge_by) accepts the answer and this one rejects it, the answer counts as a 401: the
    /// token is renewed within the [budget](crate::cache#rejections), and the request is sent again, a POST too, because the API
    /// has carried out nothing. A rule may say that the API has carried out a part
    /// ([`RejectedInPart`](crate::judge_body::BodyVerdict::RejectedInPart)).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
    /// use tower_bearer::{BearerAuthLayer, BoxError, FixedToken, judge_body::BodyRule};
    ///
    /// # let source = FixedToken::new("t")?;
    /// type Body = UnsyncBoxBody<Bytes, BoxError>;
    /// let layer = BearerAuthLayer::new(source)
    ///     .judge_body(16 * 1024, BodyRule::graphql("UNAUTHENTICATED"))
    ///     .body(|body| Body::new(body));
    /// # use tower_layer::Layer;
    /// # let api = tower::service_fn(async |_: http::Request<String>| Ok::<_, BoxError>(http::Response::<Body>::default()));
    /// # fn is_service<S: tower::Service<http::Request<String>, Response = http::Response<Body>>>(_: S) {}
    /// # is_service(layer.layer(api));
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// # Which answers are looked at
    /// Those with a status 2xx and a body of JSON: `application/json`, or any type that ends with `+json`, except gRPC's.
    /// [`content_types`](crate::judge_body::JudgeBodyLayer::content_types) sets other types. If an answer has several
    /// `Content-Type` headers, each has to be one of these types.
    ///
    /// Everything else passes unread: streams of other types (`text/event-stream`, `application/grpc`, `application/x-ndjson`),
    /// answers with a `Content-Encoding`, a 206, and answers to requests that are marked with
    /// [`SkipBearerAuth`](crate::SkipBearerAuth). For answers that are compressed, put a layer that decompresses them below this
    /// one.
    ///
    /// # What it costs
    /// The caller gets the answer when the rule has decided, or there are `limit` bytes, or the body ends. That is soon also
    /// where a body of JSON goes on for hours: if the rule needs more bytes and they do not come within 500 ms, the answer is
    /// accepted. The bytes that were looked at are then part of the body again, unchanged. The limit says how many bytes are
    /// kept, but a chunk is never split. An answer of more bytes than the limit passes if the rule has not decided by then. So
    /// does one after 256 chunks without data.
    ///
    /// An answer that was looked at and accepted proves the token, as any 200 does.
    ///
    /// # Which bodies
    /// The body of the answers is then a [`JudgedBody`](crate::judge_body::JudgedBody). With a function for
    /// [`body`](crate::judge_body::JudgeBodyLayer::body), it keeps its type.
    #[must_use]
    pub fn judge_body(self, limit: usize, rule: BodyRule) -> JudgeBodyLayer<R> {
        let judge = Judge { limit, rule, types: ContentTypes::Json, make: Wrapped };
        JudgeBodyLayer { auth: self.judging_bodies(), judge }
    }
}

impl<R, M> JudgeBodyLayer<R, M> {
    /// Sets the content types of the answers that are looked at, without parameters. Default: JSON.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, judge_body::BodyRule};
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t")?).judge_body(1024, BodyRule::slack());
    /// // An API that says `text/html`, whatever it sends.
    /// let layer = layer.content_types(["application/json", "text/html"])?;
    /// # Ok::<(), tower_bearer::Error>(())
    /// ```
    ///
    /// # Errors
    /// When one is not a single type and subtype.
    pub fn content_types<T: AsRef<str>>(mut self, types: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        self.judge.types = ContentTypes::listed(types)?;
        Ok(self)
    }

    /// Sets the function that makes the inner service's type of body from a [`JudgedBody`](crate::judge_body::JudgedBody), so
    /// that the answers keep their type. Default: none, the body of the answers is a `JudgedBody`.
    ///
    /// Most body types that erase another one have such a function: `axum::body::Body::new`, `tonic::body::Body::new`,
    /// `UnsyncBoxBody::new`. The body of an answer that was not looked at is not wrapped.
    ///
    /// The function returns the type of body that the answers of the inner service have. Any other type is a compile error where
    /// the service is used. A method such as `oneshot` then only says that trait bounds are not satisfied. A function that takes
    /// an `impl Service<Request<B>>`, or returns one, makes the compiler say which types differ.
    ///
    /// ```compile_fail,E0277
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::{Full, combinators::UnsyncBoxBody};
    /// # use tower_bearer::{BearerAuthLayer, BoxError, FixedToken, judge_body::BodyRule};
    /// # use tower_layer::Layer;
    /// # use tower_service::Service;
    /// # type Body = UnsyncBoxBody<Bytes, BoxError>;
    /// # fn is_service(_: impl Service<Request<String>>) {}
    /// # let api = tower::service_fn(async |_: Request<String>| Ok::<_, BoxError>(Response::<Body>::default()));
    /// # let layer = BearerAuthLayer::new(FixedToken::new("t").unwrap()).judge_body(1024, BodyRule::slack());
    /// // The answers of `api` have another body.
    /// is_service(layer.body(|_| Full::<Bytes>::default()).layer(api));
    /// ```
    pub fn body<F: BodyFn<B>, B: Body>(self, make: F) -> JudgeBodyLayer<R, Made<F, B>> {
        let Judge { limit, rule, types, .. } = self.judge;
        JudgeBodyLayer { auth: self.auth, judge: Judge { limit, rule, types, make: Made::by(make) } }
    }

    /// Returns the cache, to share it or to read its [`status`](TokenCache::status).
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        self.auth.cache()
    }
}

impl<S: CloneableService, R: Clone, M: Clone> Layer<S> for JudgeBodyLayer<R, M> {
    type Service = BearerAuth<JudgeBody<S, M>, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.auth.layer(JudgeBody::new(inner, Arc::new(self.judge.clone())))
    }
}

impl<R: Clone, M: Clone> Clone for JudgeBodyLayer<R, M> {
    fn clone(&self) -> Self {
        Self { auth: self.auth.clone(), judge: self.judge.clone() }
    }
}

impl<R: fmt::Debug, M: fmt::Debug> fmt::Debug for JudgeBodyLayer<R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgeBodyLayer").field("auth", &self.auth).field("judge", &self.judge).finish()
    }
}
