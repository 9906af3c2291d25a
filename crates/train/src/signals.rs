//! Signals that ask a run to stop, or to write a checkpoint and go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fireclay_terminal::Exit;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What has been asked for, looked at between two steps.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// The signal that asked to stop; 0 if none did.
    stop: Arc<AtomicUsize>,
    checkpoint: Arc<AtomicBool>,
}

impl Signals {
    /// Catches Ctrl-C and SIGTERM, which then stop the run after its step; the same again ends the
    /// process at once. SIGUSR1, which batch systems send before the end, writes a checkpoint.
    ///
    /// # Errors
    ///
    /// The system's, if it does not let signals be caught.
    pub fn catch() -> io::Result<Self> {
        let signals = Self::default();
        let was_asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first time the flag is not yet set.
            flag::register_conditional_shutdown(
                signal,
                Exit::Signal(signal).code().into(),
                was_asked.clone(),
            )?;
            flag::register(signal, was_asked.clone())?;
            flag::register_usize(signal, signals.stop.clone(), signal as usize)?;
        }
        #[cfg(unix)]
        {
            flag::register(signal_hook::consts::SIGUSR1, signals.checkpoint.clone())?;
            // A limit on the size of files is then an error of the write, as a full disk is.
            flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        }
        Ok(signals)
    }

    /// The signal that asked to stop, if one did.
    pub fn stop(&self) -> Option<i32> {
        let signal = self.stop.load(Ordering::Relaxed);
        (signal != 0).then_some(signal as i32)
    }

    /// Whether a checkpoint was asked for since the last time.
    pub fn take_checkpoint(&self) -> bool {
        self.checkpoint.load(Ordering::Relaxed) && self.checkpoint.swap(false, Ordering::Relaxed)
    }
}

/// A signal's name.
pub fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
