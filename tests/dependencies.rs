//! Dependencies are what deny.toml allows (licenses, sources, crates that must not come in), and each one that a crate declares is
//! used by it.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use weir_tests::repository;

/// What cargo knows of the workspace: its packages as locked, those for Linux, without the network.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(repository(""))
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON")
}

fn text<'a>(package: &'a Value, key: &str) -> Option<&'a str> {
    package.get(key).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value.get(key).and_then(Value::as_array).map(|a| a.iter().collect()).unwrap_or_default()
}

/// The table of deny.toml.
fn rules() -> toml::Table {
    let path = repository("deny.toml");
    std::fs::read_to_string(path).expect("deny.toml is there").parse().expect("deny.toml is TOML")
}

fn words(rules: &toml::Table, section: &str, key: &str) -> Vec<toml::Value> {
    rules[section][key].as_array().unwrap_or_else(|| panic!("deny.toml has no [{section}] {key}")).clone()
}

fn licenses(names: &[toml::Value]) -> Vec<spdx::Licensee> {
    let parsed = |l: &str| spdx::Licensee::parse(l).unwrap_or_else(|e| panic!("deny.toml: {l} is no license: {e}"));
    names.iter().filter_map(toml::Value::as_str).map(parsed).collect()
}

/// The packages that the binary is made of, by their ids.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").into_iter().filter_map(|n| Some((text(n, "id")?, n))).collect();
    let binary = list(metadata, "packages").into_iter().find(|p| text(p, "name") == Some("weir"));
    let mut next: Vec<&str> = binary.and_then(|p| text(p, "id")).into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            let for_more_than_tests = |d: &&Value| list(d, "dep_kinds").iter().any(|k| text(k, "kind") != Some("dev"));
            let of = nodes.get(id).map(|n| list(n, "deps")).unwrap_or_default();
            next.extend(of.into_iter().filter(for_more_than_tests).filter_map(|d| text(d, "pkg")));
        }
    }
    seen
}

#[test]
fn dependencies_are_what_deny_toml_allows() {
    let (metadata, rules) = (metadata(), rules());
    let allowed = licenses(&words(&rules, "licenses", "allow"));
    let of_one = words(&rules, "licenses", "exceptions");
    let excepted: BTreeMap<&str, Vec<spdx::Licensee>> = of_one
        .iter()
        .map(|e| (e["crate"].as_str().expect("a crate"), licenses(e["allow"].as_array().expect("licenses"))))
        .collect();
    let linked = linked(&metadata);
    assert!(linked.len() > 100, "the binary is made of {} packages", linked.len());
    let banned: Vec<String> = words(&rules, "bans", "deny")
        .iter()
        .map(|d| d["crate"].as_str().expect("a ban names a crate").to_string())
        .collect();
    assert!(!allowed.is_empty() && !banned.is_empty());
    for rule in ["unknown-registry", "unknown-git"] {
        assert_eq!(rules["sources"][rule].as_str(), Some("deny"), "this test knows no other rule");
    }
    let mut wrong = vec![];
    let packages = list(&metadata, "packages");
    assert!(packages.len() > 100, "cargo names only {} packages", packages.len());
    for package in packages {
        let name = text(package, "name").expect("a package has a name");
        let version = text(package, "version").expect("a package has a version");
        let Some(source) = text(package, "source") else { continue };
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            wrong.push(format!("{name} {version} comes from {source}, not from crates.io"));
        }
        if banned.iter().any(|b| b == name) {
            wrong.push(format!("{name} {version} is banned by deny.toml"));
        }
        let more = excepted.get(name).map(Vec::as_slice).unwrap_or_default();
        if !more.is_empty() && text(package, "id").is_some_and(|id| linked.contains(id)) {
            wrong.push(format!("{name} {version} is in the binary, and only its tests may have it"));
        }
        match text(package, "license").map(|l| spdx::Expression::parse_mode(l, spdx::ParseMode::LAX)) {
            Some(Ok(license)) if license.evaluate(|of| allowed.iter().chain(more).any(|a| a.satisfies(of))) => {}
            Some(Ok(license)) => wrong.push(format!("{name} {version} has the license {license}")),
            Some(Err(e)) => wrong.push(format!("{name} {version}: {}", e.reason)),
            None => wrong.push(format!("{name} {version} names no license")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The name that a package's library has in code.
fn library(package: &Value) -> Option<&str> {
    let is_library =
        |t: &&Value| list(t, "kind").iter().any(|k| matches!(k.as_str(), Some("lib" | "proc-macro" | "rlib")));
    list(package, "targets").into_iter().find(is_library).and_then(|t| text(t, "name"))
}

/// The identifiers in all Rust files of a folder, but not of packages inside it.
fn identifiers(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a package's folder").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() && !entry.join("Cargo.toml").exists() && !entry.ends_with("target") {
            identifiers(&entry, into);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            let source = std::fs::read_to_string(&entry).expect("a source file");
            let code = source.lines().filter(|l| !l.trim_start().starts_with("//"));
            into.extend(
                code.flat_map(|l| l.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_string))
                    .filter(|w| !w.is_empty()),
            );
        }
    }
}

#[test]
fn every_dependency_that_is_declared_is_used() {
    let metadata = metadata();
    let members: BTreeSet<&str> = list(&metadata, "workspace_members").into_iter().filter_map(Value::as_str).collect();
    let libraries: BTreeMap<&str, &str> =
        list(&metadata, "packages").into_iter().filter_map(|p| Some((text(p, "name")?, library(p)?))).collect();
    let (mut unused, mut seen) = (vec![], 0);
    for package in
        list(&metadata, "packages").into_iter().filter(|p| text(p, "id").is_some_and(|id| members.contains(id)))
    {
        let manifest = Path::new(text(package, "manifest_path").expect("a package has a manifest"));
        let mut used = BTreeSet::new();
        identifiers(manifest.parent().expect("a manifest lies in a folder"), &mut used);
        for dependency in list(package, "dependencies") {
            let name = text(dependency, "name").expect("a dependency has a name");
            let library = text(dependency, "rename").or(libraries.get(name).copied()).unwrap_or(name);
            seen += 1;
            if !used.contains(&library.replace('-', "_")) {
                unused.push(format!("{} does not use {name}", manifest.display()));
            }
        }
    }
    assert!(seen > 100, "cargo names only {seen} dependencies");
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}
