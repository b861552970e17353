#![doc = include_str!("../docs/servers.md")]
