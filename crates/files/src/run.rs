//! Folders of runs, by the names of their files.

use std::fs;
use std::path::{Path, PathBuf};

/// The settings of a run, resolved.
pub const CONFIG: &str = "config.toml";
/// The manifest of a run: program, machine, data and result.
pub const MANIFEST: &str = "manifest.json";
/// The trained model of a run.
pub const MODEL: &str = "model.safetensors";
/// The adapter that a fine-tuning run adds to its base.
pub const ADAPTER: &str = "adapter.safetensors";

/// The runs right below a folder, in the order of their names: folders with a manifest beside the
/// settings or the model. Other programs have files of one of these names, but not of two.
pub fn runs_inside(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_run(path)).collect();
    runs.sort();
    runs
}

fn is_run(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has(MANIFEST) && (has(CONFIG) || has(MODEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_other_programs_are_no_runs() {
        let folder = tempfile::tempdir().unwrap();
        for (name, files) in [
            ("b-run", &[MANIFEST, CONFIG][..]),
            ("a-model", &[MANIFEST, MODEL]),
            ("site", &[CONFIG]),
            ("extension", &[MANIFEST]),
            ("models", &[MODEL, ADAPTER]),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            files
                .iter()
                .for_each(|file| fs::write(folder.path().join(name).join(file), "").unwrap());
        }
        let found = ["a-model", "b-run"].map(|name| folder.path().join(name));
        assert_eq!(runs_inside(folder.path()), found);
        assert_eq!(runs_inside(&folder.path().join("none")), [""; 0].map(PathBuf::from));
    }
}
