//! The offline stage: tower-bearer's scripted issuer on loopback, with a small FHIR-like API that checks its tokens.

use std::time::Duration;

use tower_bearer::testing::{Issuer, IssuerServer};

use crate::{
    client::Counts,
    plan::{Client, Login, Plan},
    trouble::Trouble,
};

/// The issuer with a plan that fits it. Its port closes when this is dropped.
pub struct Scripted {
    pub plan: Plan,
    issuer: Issuer,
    _listening: IssuerServer,
}

impl Scripted {
    pub async fn start(requests: u32) -> Result<Self, Trouble> {
        let issuer = Issuer::builder()
            .client("quickstart", "the client's secret")
            .user("nurse.joy", "the user's password")
            .scope("patient/Observation.rs user/Patient.rs")
            // A real one lives for hours or days.
            .lifetime(Duration::from_secs(6))
            .build();
        // As slow as a real one, so that waiting for it would show.
        issuer.delay(Duration::from_millis(250));
        let listening =
            issuer.listen().await.map_err(|error| Trouble::failed(format!("no port on loopback: {error}")))?;
        let plan = Plan {
            token_url: listening.token_url(),
            api_url: uri(&listening.url("/fhir/Observation"))?,
            revoke_url: Some(uri(&listening.url("/revoke"))?),
            client: Client { id: "quickstart".into(), login: Login::Basic("the client's secret".into()) },
            username: "nurse.joy".into(),
            password: "the user's password".into(),
            scope: None,
            ca: None,
            requests,
        };
        Ok(Self { plan, issuer, _listening: listening })
    }

    /// Whether the servers' side saw the same story as the client's.
    pub fn agrees_with(&self, ours: &Counts) -> Result<(), Trouble> {
        let theirs = self.issuer.counts();
        let pairs = [
            ("token requests", ours.token_requests, theirs.token_requests),
            ("token requests with the password", ours.token_requests, theirs.password),
            ("API requests", ours.sent, theirs.api_requests),
            ("401s", ours.rejected, theirs.api_rejected),
        ];
        match pairs.iter().find(|(_, ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((what, ours, theirs)) => {
                Err(Trouble::failed(format!("the client counted {ours} {what}, the servers {theirs}")))
            }
        }
    }
}

fn uri(text: &str) -> Result<http::Uri, Trouble> {
    text.parse().map_err(|_| Trouble::failed(format!("{text} is no URL")))
}
