//! The command line.

use crate::process::command;

async fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let output = command().args(args).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const GRANT: [&str; 4] = ["--token-url", "https://auth.test/token", "--client-id", "client1"];

#[tokio::test]
async fn help_is_on_standard_output() {
    let (status, said, complaints) = output(&["--help"]).await;
    assert_eq!((status, complaints.as_str()), (Some(0), ""));
    assert!(said.contains("--upstream URL"));
}

#[tokio::test]
async fn a_wrong_command_line_is_reported_without_its_values() {
    let upstream = ["--upstream", "https://api.test"];
    for (args, line) in [
        (&[][..], "--upstream is missing"),
        (&upstream, "--token-url is missing"),
        (&[&upstream[..], &["--token-url", "https://auth.test/token"]].concat(), "--client-id is missing"),
        (&[&upstream[..], &["s3cret"]].concat(), "belongs to no --option"),
        (&[&upstream[..], &["--s3cret"]].concat(), "does not know"),
        (&[&upstream[..], &["--password", "s3cret"]].concat(), "never an argument"),
        (&[&upstream[..], &GRANT, &["--client-auth", "s3cret"]].concat(), "basic, post or none"),
        (&[&upstream[..], &GRANT, &["--client-secret-file", "/nowhere"]].concat(), "--client-secret-file /nowhere"),
        (&[&upstream[..], &GRANT, &["--password-file", "/nowhere"]].concat(), "of no use without --username"),
        (&[&upstream[..], &GRANT, &["--no-auth"]].concat(), "of no use with --no-auth"),
        (&[&upstream[..], &GRANT, &["--listen", "s3cret"]].concat(), "--listen must be an address"),
        (&[&upstream[..], &GRANT, &["--timeout", "0"]].concat(), "--timeout must be a number of seconds"),
        (&[&upstream[..], &GRANT, &["--token-header", "s3cret:"]].concat(), "--token-header must be the name"),
        (&[&upstream[..], &GRANT, &["--token-scheme", "s3cret:"]].concat(), "the scheme is empty, or has a space"),
        (&[&upstream[..], &GRANT, &["--reject-on", "403,s3cret"]].concat(), "--reject-on must be a list"),
        (&[&upstream[..], &GRANT, &["--reject-on", "200"]].concat(), "--reject-on must be a list"),
        (&["--no-auth", "--upstream", "https://api.test", "--reject-on", "403"], "of no use with --no-auth"),
        (&[&upstream[..], &GRANT, &["--forwarded", "s3cret"]].concat(), "--forwarded must be x-forwarded, forwarded"),
        (&[&upstream[..], &GRANT, &["--trust-forwarded"]].concat(), "--trust-forwarded is of no use alone"),
        (&["--no-auth", "--upstream", "http://api.test"], "plain http"),
        (&["--no-auth", "--upstream", "https://me:s3cret@api.test"], "has a user in it"),
        (&[&upstream[..], &["--token-url", "http://auth.test/token", "--client-id", "c"]].concat(), "https"),
    ] {
        let (status, said, complaint) = output(args).await;
        assert_eq!((status, said.as_str()), (Some(2), ""), "{args:?}: {complaint}");
        assert!(complaint.starts_with("gateway: ") && complaint.contains(line), "{args:?}: {complaint}");
        assert!(!complaint.contains("s3cret"), "{complaint}");
    }
}

#[tokio::test]
async fn a_missing_secret_is_an_error_at_once() {
    let mut command = command();
    command.env_remove("BEARER_CLIENT_SECRET").args(["--upstream", "https://api.test"]).args(GRANT);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("BEARER_CLIENT_SECRET"));
}
