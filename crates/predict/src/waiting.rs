//! Says what is waited for, where a pipe gives nothing for a while.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Silence that is not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// A wait that may be long. It is over when this is dropped.
pub(crate) struct Waiting {
    _is_over: Sender<()>,
}

impl Waiting {
    /// Begins to wait; logs the text if it takes long.
    pub(crate) fn begin(text: String) -> Self {
        let (is_over, ended) = channel();
        // Without another thread it is waited for in silence.
        let _ = std::thread::Builder::new().name("waiting".to_owned()).spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                log::warn!("{text}");
            }
        });
        Self { _is_over: is_over }
    }
}
