//! A team of threads for work that takes microseconds.
//!
//! A training step of a small network has a few phases of some ten microseconds each. To wake a
//! sleeping thread takes as long as that, so the members of the team watch for work for a while
//! before they go to sleep.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError};

use super::tuning::LOOKS;

/// Does `work` on each piece, on several threads if they are free, and returns when all are done.
///
/// Which thread takes which piece is open, but for the same number of pieces it is mostly the same
/// one, so that what a piece needs is still in that thread's cache. The results must not depend on
/// it. There are as many threads as Rayon would use.
pub(crate) fn each<P: Send>(pieces: &mut [P], work: impl Fn(&mut P) + Sync) {
    static TEAM: OnceLock<Mutex<Option<Team>>> = OnceLock::new();
    if pieces.len() > 1 && rayon::current_num_threads() > 1 {
        let team = TEAM.get_or_init(|| Mutex::new(Team::new(rayon::current_num_threads())));
        // If the team is at work, doing the pieces alone is quicker than waiting for it.
        let free = match team.try_lock() {
            Ok(team) => Some(team),
            // Work that panicked; the team had ended it.
            Err(TryLockError::Poisoned(team)) => Some(team.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut team) = free
            && let Some(team) = team.as_mut()
        {
            return team.each(pieces, work);
        }
    }
    pieces.iter_mut().for_each(work);
}

/// Threads that live as long as the process, and the one that gives them work.
struct Team(Arc<Shared>);

type Work<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    /// The remaining pieces, one span for each member; the first is the caller's.
    spans: Box<[Span]>,
    /// The work on a piece: a `&Work` of the caller's that lives until the last piece is done.
    work: AtomicPtr<()>,
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    asleep: AtomicUsize,
    bed: Mutex<()>,
    wake: Condvar,
}

/// A range of pieces, `start..end` in one word: `start` in its upper half, `end` in its lower one.
///
/// One word, so that taking a piece is one exchange; on a cache line of its own, so that one member's
/// taking does not slow down another's.
#[repr(align(128))]
#[derive(Default)]
struct Span(AtomicU64);

impl Span {
    fn set(&self, start: usize, end: usize) {
        self.0.store((start as u64) << 32 | end as u64, Ordering::Release);
    }

    /// Takes a piece out: the owner the first, others the last.
    fn take(&self, is_owner: bool) -> Option<usize> {
        let mut span = self.0.load(Ordering::Acquire);
        loop {
            let (start, end) = (span >> 32, span & u64::from(u32::MAX));
            if start >= end {
                return None;
            }
            let (piece, rest) =
                if is_owner { (start, span + (1 << 32)) } else { (end - 1, span - 1) };
            // Success means that `span` is what is left now, whatever happened in between.
            match self.0.compare_exchange_weak(span, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(piece as usize),
                Err(now) => span = now,
            }
        }
    }
}

impl Team {
    /// `None` if there is only one thread, or no other can be started.
    fn new(threads: usize) -> Option<Self> {
        let shared = Arc::new(Shared {
            spans: (0..threads).map(|_| Span::default()).collect(),
            work: AtomicPtr::default(),
            done: AtomicUsize::new(0),
            panic: Mutex::new(None),
            asleep: AtomicUsize::new(0),
            bed: Mutex::new(()),
            wake: Condvar::new(),
        });
        for member in 1..threads {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("fireclay-{member}"));
            thread.spawn(move || shared.serve(member)).ok()?;
        }
        (threads > 1).then_some(Self(shared))
    }

    /// As [`each`]; `&mut`, for only one thread at a time may give work.
    fn each<P: Send>(&mut self, pieces: &mut [P], work: impl Fn(&mut P) + Sync) {
        struct First<P>(*mut P);
        // SAFETY: it only serves to hand each `&mut P` to one other thread, for which `P: Send` is
        // enough.
        unsafe impl<P: Send> Sync for First<P> {}
        let first = First(pieces.as_mut_ptr());
        let first = &first;
        self.numbered(pieces.len(), &move |piece| {
            // SAFETY: `numbered` calls this once for each number below the number of pieces, and
            // `pieces` is borrowed until it has returned.
            work(unsafe { &mut *first.0.add(piece) });
        });
    }

    /// Calls `work` once with each number below `count`.
    fn numbered(&mut self, count: usize, work: &Work<'_>) {
        let shared = &*self.0;
        shared.done.store(0, Ordering::Relaxed);
        shared.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        let members = shared.spans.len();
        for (member, span) in shared.spans.iter().enumerate() {
            span.set(count * member / members, count * (member + 1) / members);
        }
        shared.rouse();
        while let Some(piece) = shared.take(0) {
            shared.finish(work, piece);
        }
        let mut looks = 0;
        while shared.done.load(Ordering::Acquire) < count {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                // The one who has it may be waiting for this very core.
                std::thread::yield_now();
            }
        }
        if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    fn take(&self, member: usize) -> Option<usize> {
        let members = self.spans.len();
        (0..members).find_map(|offset| {
            let span = &self.spans[(member + offset) % members];
            span.take(offset == 0)
        })
    }

    /// Does one piece; a panic is kept for the caller.
    fn finish(&self, work: &Work<'_>, piece: usize) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(piece))) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// The life of a member.
    fn serve(&self, member: usize) {
        let mut looks = 0;
        loop {
            if let Some(piece) = self.take(member) {
                let work = self.work.load(Ordering::Relaxed).cast::<&Work<'_>>();
                // SAFETY: taking a piece happened after the caller stored what to do with it, and
                // the caller waits, with `work` alive, until this piece is done.
                self.finish(unsafe { *work }, piece);
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                std::hint::spin_loop();
            } else {
                self.sleep();
                looks = 0;
            }
        }
    }

    fn has_work(&self) -> bool {
        self.spans.iter().any(|span| {
            let span = span.0.load(Ordering::SeqCst);
            span >> 32 < span & u64::from(u32::MAX)
        })
    }

    fn sleep(&self) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        // Either this sees the work, or the caller sees the sleeper.
        fence(Ordering::SeqCst);
        while !self.has_work() {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    fn rouse(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        let mut team = Team::new(3).unwrap();
        for count in (0..40).chain([1000]).cycle().take(2000) {
            let mut pieces = vec![0; count];
            team.each(&mut pieces, |piece| *piece += 1);
            assert_eq!(pieces, vec![1; count]);
        }
    }

    #[test]
    fn a_sleeping_team_wakes() {
        let mut team = Team::new(2).unwrap();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(5));
            let mut pieces = [0; 8];
            team.each(&mut pieces, |piece| {
                std::thread::sleep(Duration::from_millis(1));
                *piece += 1;
            });
            assert_eq!(pieces, [1; 8]);
        }
    }

    #[test]
    fn work_within_work_and_from_many_threads_is_done() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut pieces = [[0; 5]; 7];
                        each(&mut pieces, |inner| each(inner, |piece| *piece += 1));
                        assert_eq!(pieces, [[1; 5]; 7]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let mut team = Team::new(2).unwrap();
        let mut pieces = [0, 1, 2, 3];
        let caught = catch_unwind(AssertUnwindSafe(|| {
            team.each(&mut pieces, |piece| assert_ne!(*piece, 2, "two"));
        }));
        assert!(caught.unwrap_err().downcast_ref::<String>().unwrap().contains("two"));
        team.each(&mut pieces, |piece| *piece += 1);
        assert_eq!(pieces, [1, 2, 3, 4]);

        let caught = catch_unwind(|| each(&mut [0; 4], |_| panic!("three")));
        assert!(caught.unwrap_err().downcast_ref::<&str>().unwrap().contains("three"));
        // The team takes pieces again; now and then another test has it.
        let threads = Mutex::new(HashSet::new());
        for _ in 0..200 {
            each(&mut [0; 8], |_| {
                threads.lock().unwrap().insert(std::thread::current().id());
                std::thread::sleep(Duration::from_millis(1));
            });
            if threads.lock().unwrap().len() > 1 {
                return;
            }
        }
        assert_eq!(rayon::current_num_threads(), 1);
    }
}
