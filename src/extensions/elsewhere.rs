//! An answer that is not the API's.

/// Marks an answer that another origin than that of the request has given, so that it says nothing about the token. The layer then
/// passes it on as it is, also if it is a 401.
///
/// An HTTP client below the layer that follows redirects puts it into the answer's extensions, if it has removed the token at the other
/// origin. The crate `tower-bearer-reqwest` does. Without it, a 401 from there counts as a rejection by the API.
///
/// ```
/// use http::{Response, Uri};
/// use tower_bearer::AnsweredElsewhere;
///
/// fn mark<B>(mut answer: Response<B>, asked: &Uri, answered: &Uri) -> Response<B> {
///     if (asked.scheme(), asked.authority()) != (answered.scheme(), answered.authority()) {
///         answer.extensions_mut().insert(AnsweredElsewhere);
///     }
///     answer
/// }
/// # let (asked, answered) = ("https://a.example/".parse().unwrap(), "https://b.example/".parse().unwrap());
/// # assert!(mark(Response::new(()), &asked, &answered).extensions().get::<AnsweredElsewhere>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AnsweredElsewhere;
