//! No text makes the settings panic, and settings that are valid are read back as they were.
#![no_main]

// For its limit of memory.
use fireclay_fuzz as _;
use libfuzzer_sys::fuzz_target;
use train::settings::{Partial, Settings};

fuzz_target!(|text: &str| {
    let Some(settings) = read(text) else { return };
    let _ = settings.source();
    if settings.validate().is_err() {
        return;
    }
    let file = settings.to_file();
    let back = read(&file).expect("what is written is read");
    assert_eq!(back.to_file(), file);
    assert_eq!(back.digest(), settings.digest());
    assert!(back.differences(&settings).is_empty());
});

fn read(text: &str) -> Option<Settings> {
    let part = Partial { origin: "fuzz".to_owned(), table: text.parse().ok()? };
    Settings::merged(&[part]).ok()
}
