#![doc = include_str!("../docs/servers.md")]
#![expect(clippy::doc_markdown, reason = "the names of servers are not code")]
