#!/bin/sh
# Measures the crate as it was before pools: its last commit without them, from the history of this repository.
set -eu
cd "$(dirname "$0")"
commit=b3c3ca4541ebf2c0112c5f97add7b7fa141c95ef
rm -rf crate
mkdir crate
git -C "$(git rev-parse --show-toplevel)" archive "$commit" | tar -x -C crate
exec cargo run --release --quiet
