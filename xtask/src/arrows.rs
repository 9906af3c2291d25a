//! Which member may depend on which: the table in `docs/architecture.md` against the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process;

const PAGE: &str = "docs/architecture.md";
const BEGIN: &str = "<!-- arrows:begin -->";
const END: &str = "<!-- arrows:end -->";

/// For each package, the packages at the far ends of its arrows.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Compares the table with the dependencies the manifests state, of every kind.
pub(crate) fn check() -> Result<()> {
    let page = fs::read_to_string(process::root().join(PAGE));
    let page = page.with_context(|| format!("cannot read {PAGE}, which holds the arrows"))?;
    let allowed = parse_table(&page).with_context(|| PAGE.to_string())?;
    let found = parse_metadata(&process::metadata()?).context("unexpected cargo metadata")?;
    let faults = compare(&allowed, &found);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let arrows: usize = found.values().map(BTreeSet::len).sum();
    println!("{arrows} arrows among {} packages, all in the table of {PAGE}", found.len());
    Ok(())
}

/// Reads the table `| package | may depend on |` between the two marks.
fn parse_table(page: &str) -> Result<Arrows> {
    let (_, rest) = page.split_once(BEGIN).with_context(|| format!("no line `{BEGIN}`"))?;
    let (table, _) = rest.split_once(END).with_context(|| format!("no line `{END}`"))?;
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    // The first two lines are the header and the rule under it.
    lines.skip(2).map(parse_row).collect()
}

fn parse_row(line: &str) -> Result<(String, BTreeSet<String>)> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [package, targets] = cells[..] else {
        anyhow::bail!("a row needs the form | `package` | `a`, `b` |, found {line}");
    };
    let targets = match targets {
        "-" => BTreeSet::new(),
        _ => targets.split(',').map(unquote).collect::<Result<_>>()?,
    };
    Ok((unquote(package)?, targets))
}

fn unquote(cell: &str) -> Result<String> {
    let name = cell.trim().strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    Ok(name.with_context(|| format!("a package name stands in backticks, found {cell}"))?.into())
}

/// Reads the dependencies among members out of `cargo metadata --no-deps`.
fn parse_metadata(metadata: &Value) -> Option<Arrows> {
    let packages = metadata["packages"].as_array()?;
    let members: BTreeSet<String> = packages.iter().filter_map(name).collect();
    let mut arrows = Arrows::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array()?;
        // A path tells a member from a registry's package of the same name.
        let local = dependencies.iter().filter(|dependency| dependency["path"].is_string());
        let targets = local.filter_map(name).filter(|target| members.contains(target));
        arrows.insert(name(package)?, targets.collect());
    }
    Some(arrows)
}

fn name(value: &Value) -> Option<String> {
    value["name"].as_str().map(str::to_string)
}

/// Lists what the table and the manifests disagree about.
fn compare(allowed: &Arrows, found: &Arrows) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, targets) in found {
        let Some(row) = allowed.get(package) else {
            faults.push(format!("`{package}` is a member of the workspace and has no row"));
            continue;
        };
        let forbidden = targets.difference(row);
        faults.extend(forbidden.map(|target| {
            format!("`{package}` depends on `{target}`, and its row does not allow that")
        }));
    }
    for (package, row) in allowed {
        if !found.contains_key(package) {
            faults.push(format!("`{package}` has a row and is no member of the workspace"));
        }
        let missing = row.iter().filter(|target| !found.contains_key(*target));
        faults.extend(missing.map(|target| {
            format!("`{package}` may depend on `{target}`, which is no member of the workspace")
        }));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(rows: &[(&str, &[&str])]) -> Arrows {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        rows.iter().map(|(package, targets)| (package.to_string(), set(targets))).collect()
    }

    #[test]
    fn the_table_is_what_stands_between_the_marks() {
        let page = "# Arrows\n| `no` | `no` |\n<!-- arrows:begin -->\n\n\
                    | package | may depend on |\n|---|---|\n\
                    | `train` | `fireclay`, `fireclay-data` |\n| `fireclay` | - |\n\
                    <!-- arrows:end -->\n| `no` | - |\n";
        let expected = arrows(&[("fireclay", &[]), ("train", &["fireclay", "fireclay-data"])]);
        assert_eq!(parse_table(page).unwrap(), expected);
    }

    #[test]
    fn a_page_that_is_not_understood_is_refused() {
        let table = |row: &str| format!("{BEGIN}\n| a | b |\n|---|---|\n{row}\n{END}");
        for page in [
            "no marks".to_string(),
            format!("{BEGIN}\nno end"),
            table("| `train` |"),
            table("| train | - |"),
            table("| `train` | fireclay |"),
            table("| `train` | |"),
        ] {
            assert!(parse_table(&page).is_err(), "accepted {page}");
        }
    }

    #[test]
    fn every_kind_of_dependency_is_an_arrow_and_other_packages_are_none() {
        let metadata = serde_json::json!({"packages": [
            {"name": "fireclay", "dependencies": [{"name": "burn"}]},
            {"name": "fireclay-data", "dependencies": [{"name": "fireclay"}]},
            {"name": "train", "dependencies": [
                {"name": "fireclay", "kind": null, "path": "/w/crates/core"},
                {"name": "fireclay-data", "kind": "dev", "path": "/w/crates/data", "rename": "d"},
                {"name": "elsewhere", "kind": null, "path": "/other"},
            ]},
        ]});
        let expected = arrows(&[
            ("fireclay", &[]),
            ("fireclay-data", &[]),
            ("train", &["fireclay", "fireclay-data"]),
        ]);
        assert_eq!(parse_metadata(&metadata), Some(expected));
    }

    #[test]
    fn an_arrow_that_is_allowed_and_unused_is_no_fault() {
        let allowed = arrows(&[("train", &["fireclay"]), ("fireclay", &[])]);
        let found = arrows(&[("train", &[]), ("fireclay", &[])]);
        assert_eq!(compare(&allowed, &found), [""; 0]);
    }

    #[test]
    fn every_disagreement_names_both_ends() {
        let allowed = arrows(&[("train", &["gone"]), ("fireclay", &[]), ("old", &[])]);
        let found = arrows(&[("train", &[]), ("fireclay", &["train"]), ("new", &[])]);
        assert_eq!(
            compare(&allowed, &found),
            [
                "`fireclay` depends on `train`, and its row does not allow that",
                "`new` is a member of the workspace and has no row",
                "`old` has a row and is no member of the workspace",
                "`train` may depend on `gone`, which is no member of the workspace",
            ]
        );
    }
}
