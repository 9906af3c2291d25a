//! Fetching one URL, with time-outs and retries.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::thread;
use std::time::Duration;

use fireclay_terminal::counted;
use thiserror::Error;

/// Some servers, NIST's among them, refuse clients that do not look like a browser.
const USER_AGENT: &str =
    concat!("Mozilla/5.0 (compatible; fireclay-data/", env!("CARGO_PKG_VERSION"), ")");
/// About twice the largest file known here.
const MAX_BYTES: u64 = 1 << 30;
/// With the pauses between them, 3.5 seconds: a server that needs longer is left for the next mirror.
const RETRIES: u32 = 3;
const BUFFER_BYTES: usize = 1 << 16;

/// Progress of fetching one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// The name of the file.
    pub file: String,
    /// Bytes fetched.
    pub done: u64,
    /// Bytes of the whole file, if the server announced it.
    pub total: Option<u64>,
}

/// Why a URL could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the server answered with status {0}")]
    Status(u16),
    #[error("{0}")]
    Transport(ureq::Error),
    #[error("the connection broke after {}", counted(*done, "byte"))]
    Broken { done: u64, source: io::Error },
    #[error("the server announced {} but sent {found}", counted(*expected, "byte"))]
    Length { expected: u64, found: u64 },
    #[error("the file is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("cannot write the fetched bytes")]
    Write(#[source] io::Error),
}

/// An HTTP client.
pub(crate) struct Client {
    agent: ureq::Agent,
    /// The pause before the first retry; it doubles with each.
    pub(crate) back_off: Duration,
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .user_agent(USER_AGENT)
            // The files are compressed already, and their sums are of the bytes as published.
            .accept_encoding("identity")
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(Duration::from_secs(30)))
            .build();
        Self { agent: config.into(), back_off: Duration::from_millis(500) }
    }

    /// Fetches `url` into `file`, which is empty again before each retry.
    pub(crate) fn fetch(
        &self,
        name: &str,
        url: &str,
        file: &mut File,
        progress: &mut dyn FnMut(FetchProgress),
    ) -> Result<(), FetchError> {
        for retry in 0..RETRIES {
            match self.fetch_once(name, url, file, progress) {
                Err(error) if error.is_passing() => thread::sleep(self.back_off * (1 << retry)),
                finished => return finished,
            }
        }
        // The last try, after which nothing is left to wait for: its error is the result.
        self.fetch_once(name, url, file, progress)
    }

    fn fetch_once(
        &self,
        name: &str,
        url: &str,
        file: &mut File,
        progress: &mut dyn FnMut(FetchProgress),
    ) -> Result<(), FetchError> {
        // What a broken try has left would precede the bytes of this one.
        file.set_len(0).and_then(|()| file.rewind()).map_err(FetchError::Write)?;
        let mut response = self.agent.get(url).call().map_err(|error| match error {
            ureq::Error::StatusCode(status) => FetchError::Status(status),
            other => FetchError::Transport(other),
        })?;
        let total = response.body().content_length();
        // Refused before it is fetched; the limit below holds a server that announces nothing.
        if total.is_some_and(|total| total > MAX_BYTES) {
            return Err(FetchError::TooLarge);
        }
        let body = response.body_mut().with_config().limit(MAX_BYTES).reader();
        let done = copy(body, file, |done| {
            progress(FetchProgress { file: name.to_owned(), done, total });
        })?;
        match total {
            // A connection that closes early looks like the end of the file.
            Some(expected) if expected != done => Err(FetchError::Length { expected, found: done }),
            _ => Ok(()),
        }
    }
}

impl FetchError {
    /// Returns true if another try at the same address may end better.
    fn is_passing(&self) -> bool {
        match self {
            // Request time-out, too many requests, and faults of the server.
            Self::Status(status) => matches!(status, 408 | 429 | 500..),
            // Without a network no name is found; to wait would not help, the next mirror might.
            Self::Transport(
                ureq::Error::HostNotFound | ureq::Error::BadUri(_) | ureq::Error::Http(_),
            ) => false,
            Self::Transport(_) | Self::Broken { .. } | Self::Length { .. } => true,
            Self::TooLarge | Self::Write(_) => false,
        }
    }
}

/// Copies all of `body`, telling the bytes done after each piece.
fn copy(
    mut body: impl Read,
    file: &mut File,
    mut progress: impl FnMut(u64),
) -> Result<u64, FetchError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0;
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => return Ok(done),
            Ok(count) => count,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(FetchError::Broken { done, source }),
        };
        file.write_all(&buffer[..count]).map_err(FetchError::Write)?;
        done += count as u64;
        progress(done);
    }
}
