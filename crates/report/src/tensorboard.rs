//! The measurements of a run as an event file, which TensorBoard shows.
//!
//! An event file is a row of records (`TFRecord`), each the message `Event` in the encoding of
//! Protocol Buffers. Of both there is so little in use here that it is written out: three fields of
//! `Event` (tensorflow/core/util/event.proto), one of `Summary` and two of its `Value`
//! (tensorflow/core/framework/summary.proto).

use std::path::Path;
use std::time::UNIX_EPOCH;

use train::disk::Disk;
use train::manifest::{Manifest, Session};

use crate::error::ReportError;
use crate::log::{Line, Log};

/// The event file of a run, for `tensorboard --logdir runs`.
///
/// It has every finite number of `metrics.jsonl` as a scalar, at its optimizer step. Tags:
///
/// | tag | measured |
/// |---|---|
/// | `loss/training` | every few steps, while the weights moved |
/// | `loss/training-epochs` | over each whole epoch |
/// | `loss/validation` | after each epoch |
/// | `loss/test` | once, at the step of the weights that were kept |
/// | `learning-rate` | that of the step |
///
/// and so on for each metric. The log has no times, so those of the events are made up: the steps
/// of a session are spread evenly from its start to its end, which the manifest has; steps of a
/// session that was killed, whose end nobody knows, are all at its start.
///
/// The same run gives the same file, by the same name, so that one written later replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFile {
    /// Its name in the folder of the run: `events.out.tfevents.`, the second at which the run
    /// began, and `.fireclay`. TensorBoard knows event files by that beginning.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl EventFile {
    /// That of the run in this folder; it is not written.
    ///
    /// # Errors
    ///
    /// [`ReportError::Read`] for a folder without a manifest, [`ReportError::Log`] for
    /// measurements that are none.
    pub fn from_run(folder: &Path) -> Result<Self, ReportError> {
        let manifest =
            Manifest::load(folder, &Disk::default()).map_err(ReportError::read(folder))?;
        let log = Log::load(folder)?;
        Ok(Self::new(&log, &spans(&manifest.sessions, log.last_step())))
    }

    fn new(log: &Log, spans: &[Span]) -> Self {
        let began = spans.first().map_or(0.0, |span| span.start);
        let name = format!("events.out.tfevents.{:010}.fireclay", began.floor());
        let mut lines: Vec<&Line> = log.lines().iter().collect();
        // The test line comes last, and its step may be an early one.
        lines.sort_by_key(|line| line.step);
        let mut bytes = record(&first_event(began));
        for line in lines {
            bytes.extend(record(&event(line, time_of(spans, line.step))));
        }
        Self { name, bytes }
    }
}

/// Steps that one session did, and when, in seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
struct Span {
    from_step: u64,
    to_step: u64,
    start: f64,
    end: f64,
}

/// What each session did of a run that has done `last_step` steps.
fn spans(sessions: &[Session], last_step: u64) -> Vec<Span> {
    let ends = sessions.iter().skip(1).map(|next| next.from_step).chain([last_step]);
    let spans = sessions.iter().zip(ends).map(|(session, to_step)| {
        let start = seconds(&session.started).unwrap_or(0.0);
        let end = session.ended.as_ref().and_then(|end| seconds(&end.at)).unwrap_or(start);
        Span { from_step: session.from_step, to_step, start, end: end.max(start) }
    });
    spans.collect()
}

/// A time of a manifest, in seconds since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// About when a step was done: as far into its session as the step is among those of the session.
fn time_of(spans: &[Span], step: u64) -> f64 {
    // After a session that was killed, the next does some of its steps again.
    let Some(span) = spans.iter().rev().find(|span| span.from_step < step) else {
        return spans.first().map_or(0.0, |span| span.start);
    };
    let steps = span.to_step.saturating_sub(span.from_step).max(1);
    let share = ((step - span.from_step) as f64 / steps as f64).min(1.0);
    span.start + (span.end - span.start) * share
}

/// What a number of a line is called in TensorBoard, which puts the same name before `/` together.
fn tag(line: &Line, name: &str) -> String {
    match (name, line.split.as_str(), line.span.as_str()) {
        ("learning-rate", "training", "steps") => name.to_owned(),
        (_, "training", "epoch") => format!("{name}/training-epochs"),
        (_, split, _) => format!("{name}/{split}"),
    }
}

/// The event that says which version of the format the file has.
fn first_event(time: f64) -> Message {
    let mut event = Message::default();
    event.double(1, time);
    event.bytes(3, b"brain.Event:2");
    event
}

/// The numbers of a line, as one event.
fn event(line: &Line, time: f64) -> Message {
    let mut summary = Message::default();
    for (name, value) in &line.values {
        let Some(number) = value else { continue };
        let mut value = Message::default();
        value.bytes(1, tag(line, name).as_bytes());
        value.float(2, *number as f32);
        summary.bytes(1, &value.0);
    }
    let mut event = Message::default();
    event.double(1, time);
    event.integer(2, line.step);
    event.bytes(5, &summary.0);
    event
}

/// A message of Protocol Buffers: fields, each behind its number and the kind of its encoding
/// (protobuf.dev, "Encoding").
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    /// A text, or a message within this one.
    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the eighth bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A message as a record: its length and that of the length's checksum, then the message and its
/// checksum (tensorflow/core/lib/io/record_writer.h).
fn record(message: &Message) -> Vec<u8> {
    let data = &message.0;
    let length = (data.len() as u64).to_le_bytes();
    let [of_length, of_data] = [&length[..], data].map(|bytes| masked(crc32c(bytes)).to_le_bytes());
    [&length[..], &of_length, data, &of_data].concat()
}

/// A checksum as records have it, so that those of data that holds checksums are good too.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, section 12.1), bit by bit: a table would be faster, and an event
/// file is small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = include_str!("../tests/goldens/tensorboard/metrics.jsonl");

    /// As in goldens/tensorboard/tensorboard.py.
    fn two_sessions() -> [Span; 2] {
        let start = 1_764_121_288.432;
        [
            Span { from_step: 0, to_step: 100, start, end: start },
            Span { from_step: 100, to_step: 430, start: 1_764_124_888.5, end: 1_764_124_891.125 },
        ]
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the check value of the catalogue of CRCs.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        let descending: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(&descending), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn a_record_is_length_message_and_a_checksum_of_each() {
        let record = record(&Message(b"abc".to_vec()));
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!(record[..8], 3_u64.to_le_bytes());
        assert_eq!(record[8..12], masked(crc32c(&record[..8])).to_le_bytes());
        assert_eq!(&record[12..15], b"abc");
        assert_eq!(record[15..], masked(crc32c(b"abc")).to_le_bytes());
    }

    #[test]
    fn integers_take_as_many_bytes_as_they_need() {
        for (value, bytes) in
            [(0, &[16, 0][..]), (127, &[16, 127]), (128, &[16, 0x80, 1]), (300, &[16, 0xac, 2])]
        {
            let mut message = Message::default();
            message.integer(2, value);
            assert_eq!(message.0, bytes);
        }
    }

    #[test]
    fn the_file_is_that_of_tensorboards_own_writer() {
        let file = EventFile::new(&Log::parse(LOG).unwrap(), &two_sessions());
        assert_eq!(file.name, "events.out.tfevents.1764121288.fireclay");
        let golden: &[u8] =
            include_bytes!("../tests/goldens/tensorboard/events.out.tfevents.1764121288.fireclay");
        assert!(file.bytes == golden, "{} and {} bytes", file.bytes.len(), golden.len());
    }

    #[test]
    fn steps_are_spread_over_their_session() {
        let spans = two_sessions();
        let [killed, last] = &spans;
        for (step, time) in [
            (0, killed.start),
            (50, killed.start),
            (100, killed.start),
            (265, f64::midpoint(last.start, last.end)),
            (430, last.end),
            (500, last.end),
        ] {
            assert_eq!(time_of(&spans, step), time, "step {step}");
        }
        assert_eq!(time_of(&[], 7), 0.0);
    }

    #[test]
    fn a_run_without_measurements_is_a_file_without_scalars() {
        let file = EventFile::new(&Log::parse("").unwrap(), &[]);
        assert_eq!(file.name, "events.out.tfevents.0000000000.fireclay");
        assert_eq!(file.bytes, record(&first_event(0.0)));
        let none = EventFile::from_run(Path::new("no-run"));
        assert!(matches!(none, Err(ReportError::Read { .. })), "{none:?}");
    }
}
