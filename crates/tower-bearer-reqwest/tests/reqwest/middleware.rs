//! The middleware for the crate `reqwest-middleware`. `examples/middleware.rs` runs it.

#[test]
fn the_readme_shows_the_middleware_of_the_example() {
    let example = include_str!("../../examples/middleware.rs");
    let (begin, end) = (example.find("struct Bearer {").unwrap(), example.find("\n#[tokio::main]").unwrap());
    assert!(include_str!("../../README.md").contains(&example[begin..end]));
}
