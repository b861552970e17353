//! Descriptions of scopes in plain English.

use crate::scope::{interaction::Interaction, level::Level, smart::SmartScope};

/// Describes a scope in plain English.
///
/// It knows the clinical scopes of SMART App Launch 2.2 and the other scopes that this standard names. It returns `None` for
/// all other scopes, because only their issuer defines what they mean.
///
/// ```
/// use tower_bearer::scope::describe;
///
/// assert_eq!(describe("user/*.cud").unwrap(), "create, update and delete all resources that the user may access");
/// assert_eq!(describe("launch/patient").unwrap(), "know the patient in context");
/// assert_eq!(describe("appointments"), None);
/// ```
#[must_use]
pub fn describe(scope: &str) -> Option<String> {
    let words = match scope {
        "openid" => "know who the user is",
        "profile" | "fhirUser" => "know the user's own resource",
        "launch" => "know the context in which it was launched",
        "offline_access" => "get new tokens after the user has gone offline",
        "online_access" => "get new tokens while the user is online",
        _ => return launch(scope).or_else(|| scope.parse().ok().as_ref().map(SmartScope::describe)),
    };
    Some(words.to_owned())
}

fn launch(scope: &str) -> Option<String> {
    let wanted = scope.strip_prefix("launch/")?;
    let (wanted, query) = wanted.split_once('?').unwrap_or((wanted, ""));
    let is_name = !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_alphabetic());
    is_name.then(|| format!("know the {wanted} in context{}", restriction(query.split('&'))))
}

impl SmartScope {
    /// Describes the scope in plain English.
    #[must_use]
    pub fn describe(&self) -> String {
        let verbs: Vec<_> = self.interactions().map(Interaction::verb).collect();
        let verbs = match verbs.as_slice() {
            [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
            one => one.concat(),
        };
        let resource = self.resource().unwrap_or("all resources");
        let whose = match self.level() {
            Level::Patient => " of the patient in context",
            Level::User => " that the user may access",
            Level::System => " that the client may access without a user",
        };
        format!("{verbs} {resource}{whose}{}", restriction(self.restrictions().into_iter()))
    }
}

fn restriction<'a>(pairs: impl Iterator<Item = &'a str>) -> String {
    let pairs: Vec<_> =
        pairs.filter_map(|pair| pair.split_once('=')).map(|(name, value)| format!("{name} is {value}")).collect();
    if pairs.is_empty() { String::new() } else { format!(", where {}", pairs.join(" and ")) }
}
