"""Prints our `rust-version`, or that of the package of another manifest. Fails when a dependency that users build declares a later one."""
import json
import subprocess
import sys

manifest = [f"--manifest-path={path}" for path in sys.argv[1:]]
metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--locked", "--all-features", "--format-version=1", *manifest]))
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]


def version(package):
    return ([int(part) for part in (package["rust_version"] or "0").split(".")] + [0, 0])[:3]


seen, todo = set(), [root]
while todo:
    package = todo.pop()
    if package not in seen:
        seen.add(package)
        kinds = ((d["pkg"], k["kind"]) for d in nodes[package]["deps"] for k in d["dep_kinds"])
        todo += [dependency for dependency, kind in kinds if kind != "dev"]

ours = packages[root]
late = [packages[id] for id in seen if version(packages[id]) > version(ours)]
for package in late:
    print(f"{package['name']} {package['version']} needs Rust {package['rust_version']}", file=sys.stderr)
print(ours["rust_version"])
sys.exit(bool(late))
