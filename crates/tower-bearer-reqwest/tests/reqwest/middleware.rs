//! The middleware for the crate `reqwest-middleware`. `examples/middleware` runs it.

#[test]
fn the_cookbook_shows_the_middleware_of_the_example() {
    let example = include_str!("../../examples/middleware/bearer.rs");
    let (_, shown) = example.split_once("\n\n").unwrap();
    assert!(include_str!("../../../../docs/cookbook.md").contains(shown));
}
