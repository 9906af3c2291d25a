//! One feature set: what `cargo run -p train` builds is what `cargo test --workspace` uses.
//!
//! Cargo chooses features again for each selection of packages, and a package with one feature more
//! is another package to it: were one to differ, the second command of the README would compile
//! Burn again. A dev-dependency counts, because building a package's tests switches it on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::process;

/// For each third-party package and version, the feature lists it is built with.
///
/// There may be several, because build scripts and macros have features of their own.
type Built = BTreeMap<String, BTreeSet<String>>;

/// Compares the features of the two selections, for the programs and for what builds them.
pub(crate) fn check() -> Result<()> {
    let members = member_names()?;
    let mut faults = BTreeSet::new();
    // `normal,no-proc-macro` leaves what goes into the programs, `normal,build` everything: taken
    // together only, a difference in one could hide behind an equal list in the other.
    for kinds in ["normal,no-proc-macro", "normal,build"] {
        let train = built(&format!("-p train -e {kinds}"), &members)?;
        let workspace = built(&format!("--workspace -e {kinds},dev"), &members)?;
        println!("{kinds}: {} packages of `train` compared", train.len());
        faults.extend(differences(&train, &workspace));
    }
    let faults: Vec<String> = faults.into_iter().collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn member_names() -> Result<BTreeSet<String>> {
    let metadata = process::metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages.filter_map(|package| package["name"].as_str()).map(str::to_string).collect())
}

fn built(selection: &str, members: &BTreeSet<String>) -> Result<Built> {
    let tree = format!("cargo tree --locked {selection} --prefix none -f {{p}}|{{f}}");
    Ok(parse_tree(&process::output(&tree)?, members))
}

/// Reads lines such as `serde v1.0.0|default,std (*)`; the mark says that it was shown before.
fn parse_tree(tree: &str, members: &BTreeSet<String>) -> Built {
    let mut built = Built::new();
    for line in tree.lines() {
        let Some((package, features)) = line.split_once('|') else { continue };
        let name = package.split(' ').next().unwrap_or_default();
        if !members.contains(name) {
            let features = features.trim_end_matches("(*)").trim();
            built.entry(package.into()).or_default().insert(features.into());
        }
    }
    built
}

/// Lists the packages that the workspace would build again after `train`.
fn differences(train: &Built, workspace: &Built) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, lists) in train {
        let Some(others) = workspace.get(package) else { continue };
        let only_train: Vec<&String> = lists.difference(others).collect();
        if !only_train.is_empty() {
            let only_workspace: Vec<&String> = others.difference(lists).collect();
            faults.push(format!(
                "{package} is built twice:\n  -p train     {only_train:?}\n  --workspace  {only_workspace:?}"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tree: &str) -> Built {
        parse_tree(tree, &BTreeSet::from(["train".to_string()]))
    }

    #[test]
    fn members_and_marks_are_left_out() {
        let built =
            parse("train v0.1.0 (/w)|flex\nserde v1|a,b\n\nserde v1|a,b (*)\nlibm v1| (*)\n");
        assert_eq!(built, parse("serde v1|a,b\nlibm v1|\n"));
        assert_eq!(built.len(), 2);
    }

    #[test]
    fn a_feature_that_only_the_workspace_has_is_a_difference() {
        let faults = differences(&parse("burn v0|std\n"), &parse("burn v0|optim,std\n"));
        assert_eq!(
            faults,
            ["burn v0 is built twice:\n  -p train     [\"std\"]\n  --workspace  [\"optim,std\"]"]
        );
    }

    #[test]
    fn packages_of_one_side_and_further_copies_are_none() {
        let train = parse("burn v0|std\nonly-here v1|\n");
        let workspace = parse("burn v0|std\nburn v0|std,extra\nproptest v1|std\n");
        assert_eq!(differences(&train, &workspace), [""; 0]);
    }
}
