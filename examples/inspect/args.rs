//! The command line.

use lexopt::Parser;

use crate::cli::{CliError, GRANT_HELP, GRANT_OPTIONS, GrantOptions, Options};

const USAGE: &str = "\
Shows what is in a token: header, claims, scopes in words, and the remaining lifetime. The token is decoded locally and sent
nowhere.

    xclip -o | cargo run --example inspect

reads a token, with or without `Bearer`, or the JSON of a token response. (xclip is for X11; use `wl-paste` on Wayland and
`pbpaste` on macOS.) To get a token from an authorization server:

    cargo run --example inspect -- --token-url URL --client-id ID [OPTION]...

";

const MORE_OPTIONS: &str = "  --ca-file PEM              trust these certificates in addition to the system's
  --show-signature           show the signature too; together with the rest, it is the token
  --help                     print this text

Exit status: 0 success, 1 no token or one that cannot be read, 2 wrong command line.
";

/// What the command line selects.
pub enum Command {
    Help,
    /// Reads the token from standard input.
    Pasted {
        show_signature: bool,
    },
    /// Gets the token from an authorization server.
    Granted {
        grant: Box<GrantOptions>,
        show_signature: bool,
    },
}

pub fn help() -> String {
    format!("{USAGE}{GRANT_HELP}{MORE_OPTIONS}")
}

pub fn parse(parser: Parser) -> Result<Command, CliError> {
    let with_value = [&GRANT_OPTIONS[..], &["ca-file"]].concat();
    let Some(options) = Options::parse(parser, &with_value, &["show-signature"])? else { return Ok(Command::Help) };
    let show_signature = options.flag("show-signature");
    if options.is_empty() {
        return Ok(Command::Pasted { show_signature });
    }
    Ok(Command::Granted { grant: Box::new(GrantOptions::from_options(&options, None)?), show_signature })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, String> {
        parse(Parser::from_args(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_grant_the_token_is_read_from_standard_input() {
        assert!(matches!(parsed(&[]), Ok(Command::Pasted { show_signature: false })));
        assert!(matches!(parsed(&["--show-signature"]), Ok(Command::Pasted { show_signature: true })));
        assert!(matches!(parsed(&["--show-signature", "-h"]), Ok(Command::Help)));
    }

    #[test]
    fn a_wrong_option_is_named_and_a_secret_is_not_shown() {
        for (args, line) in [
            (&["--client-id", "c"][..], "--token-url is missing"),
            (&["--token-url"], "--token-url needs a value"),
            (&["--show-signature=yes"], "--show-signature does not take a value"),
            (&["eyJsecret"], "never arguments"),
            (&["--password", "eyJsecret"], "never an argument"),
            (&["--token-url", "u", "--client-id", "c", "--client-auth", "eyJsecret"], "--client-auth must be"),
        ] {
            let Err(error) = parsed(args) else { panic!("{args:?} is accepted") };
            assert!(error.contains(line) && !error.contains("eyJsecret"), "{error}");
        }
    }
}
