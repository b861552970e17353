#![doc = include_str!("../../../docs/cookbook.md")]
#![allow(clippy::doc_markdown, reason = "the page has names of products")]
