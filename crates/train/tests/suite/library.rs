//! A run from Rust, by settings and options: no command line, and nothing printed.

use std::io;
use std::sync::{Arc, Mutex};

use fireclay::Model;
use train::job::Job;
use train::metrics::Meter;
use train::progress::{Console, Display, EpochReport, Progress};
use train::schedule::Length;
use train::settings::{Partial, Settings, Validation};
use train::{Changes, Finished, Prepared, RunEnd, RunOptions};

use crate::program::{DIGITS, Place};
use crate::runs::{FILES, assert_same, manifest};

/// The small set, for three epochs.
fn settings(place: &Place) -> Settings {
    let mut settings = Settings::default();
    settings.data.source = format!("idx:{}", place.path("digits").display());
    settings.data.validation = Some(Validation::Count(10));
    settings.training.epochs = 3;
    settings
}

fn options(place: &Place, name: &str) -> RunOptions {
    let (out, name) = (place.path("runs"), Some(name.to_owned()));
    RunOptions { out, name, ..RunOptions::default() }
}

#[track_caller]
fn finished(prepared: Prepared) -> Finished {
    match prepared.run().unwrap() {
        RunEnd::Finished(finished) => *finished,
        RunEnd::Interrupted { signal } => panic!("stopped by {signal}"),
    }
}

/// Keeps what a run says, and may ask for its end after the first epoch.
#[derive(Clone, Default)]
struct Heard {
    said: Arc<Mutex<Vec<String>>>,
    stops: bool,
}

impl Console for Heard {
    fn say(&self, text: &str) -> io::Result<()> {
        self.said.lock().unwrap().push(text.to_owned());
        Ok(())
    }

    fn warn(&self, warning: &str) {
        self.said.lock().unwrap().push(format!("warning: {warning}"));
    }

    fn display(&self) -> Box<dyn Display> {
        Box::new(Epochs { seen: 0, stops: self.stops })
    }
}

struct Epochs {
    seen: usize,
    stops: bool,
}

impl Display for Epochs {
    fn start(&mut self, _job: &Job<'_>, _length: Length, _meter: &Meter) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn epoch(&mut self, _report: &EpochReport) -> io::Result<()> {
        self.seen += 1;
        Ok(())
    }

    fn wants_to_stop(&self) -> bool {
        self.stops && self.seen > 0
    }
}

#[test]
fn a_run_from_rust_leaves_what_the_program_leaves() {
    let place = Place::new();
    let run = finished(Prepared::new(settings(&place), options(&place, "called")).unwrap());
    assert_eq!(run.folder, place.path("runs/called"));
    assert_eq!(place.run("called").files(), FILES);
    let accuracy = manifest(&place.run("called"))["result"]["metrics"]["accuracy"].clone();
    assert_eq!(run.test.get("accuracy"), accuracy.as_f64());
    let saved = Model::load(run.folder.join("model.safetensors"), &run.model.device()).unwrap();
    assert_eq!(saved.digest().unwrap(), run.model.digest().unwrap());

    place.train(&format!("{DIGITS} --epochs 3 --name typed")).succeeded();
    let (called, typed) = (place.run("called"), place.run("typed"));
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(called.bytes(file) == typed.bytes(file), "{file} differs");
    }
}

#[test]
fn a_console_hears_a_run_and_may_end_it() {
    let place = Place::new();
    let whole = finished(Prepared::new(settings(&place), options(&place, "whole")).unwrap());
    assert!(whole.repeats.is_none());

    let console = Heard { stops: true, ..Heard::default() };
    let heard = RunOptions { console: Arc::new(console.clone()), ..options(&place, "stopped") };
    let stopped = finished(Prepared::new(settings(&place), heard).unwrap());
    assert_eq!(manifest(&place.run("stopped"))["result"]["stopped"], true);
    let said = console.said.lock().unwrap().concat();
    for words in ["50 training", "Stopped from the dashboard", "train --resume"] {
        assert!(said.contains(words), "{said}");
    }

    // It is resumed to the same end, by its folder.
    let folder = stopped.folder.display().to_string();
    let options = || RunOptions { out: place.path("runs"), ..RunOptions::default() };
    finished(Prepared::resume(&folder, &Changes::default(), options()).unwrap());
    assert_same(&place.run("stopped"), &place.run("whole"));
    // And repeated, in a folder of its own.
    let again = finished(Prepared::repeat("whole", &Changes::default(), options()).unwrap());
    assert_eq!(again.repeats, Some(true));
}

#[test]
fn a_resumed_run_takes_more_epochs_and_nothing_else() {
    let place = Place::new();
    finished(Prepared::new(settings(&place), options(&place, "run")).unwrap());
    let changes = |text: &str| {
        let settings = vec![Partial::text("the caller", text).unwrap()];
        Changes { settings, ..Changes::default() }
    };
    let resume = |text: &str| Prepared::resume("run", &changes(text), options(&place, "run"));
    let Err(error) = resume("[training]\nbatch_size = 7") else { panic!("it was resumed") };
    assert!(error.to_string().contains("training.batch_size is 32, not 7"), "{error}");
    finished(resume("[training]\nepochs = 4").unwrap());
    let sessions = manifest(&place.run("run"))["sessions"].as_array().unwrap().len();
    assert_eq!(sessions, 2);
}
