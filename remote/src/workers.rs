//! The workers that are running, by a number for each: the application wakes them by it.
//!
//! An entry lives exactly as long as its worker, and no number is used twice, so that a handle that
//! the application still holds afterwards finds nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// A worker's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(usize);

impl Id {
    pub fn number(self) -> usize {
        self.0
    }

    pub fn from_number(number: usize) -> Self {
        Self(number)
    }
}

static WORKERS: RwLock<BTreeMap<Id, Arc<Notify>>> = RwLock::new(BTreeMap::new());

/// From 1: a null pointer names none.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// A worker that runs.
pub struct Running {
    id: Id,
    more: Arc<Notify>,
}

impl Running {
    pub fn new() -> Self {
        static AT_EXIT: Once = Once::new();
        // SAFETY: a function without arguments that does not unwind. That it cannot be registered
        // is no harm: the pod then keeps the workers for its grace time.
        AT_EXIT.call_once(|| unsafe {
            let _ = libc::atexit(end_all);
        });
        let running = Self {
            id: Id(NEXT.fetch_add(1, Ordering::Relaxed)),
            more: Arc::default(),
        };
        *lock(&COUNT) += 1;
        let mut workers = WORKERS.write().unwrap_or_else(PoisonError::into_inner);
        workers.insert(running.id, running.more.clone());
        running
    }

    pub fn id(&self) -> Id {
        self.id
    }

    /// Waits for the next call of [`wake`], or the last one if nobody waited then.
    pub async fn woken(&self) {
        self.more.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut workers = WORKERS.write().unwrap_or_else(PoisonError::into_inner);
        workers.remove(&self.id);
        *lock(&COUNT) -= 1;
        ENDED.notify_all();
    }
}

/// Wakes a worker; whether there is one of that number.
pub fn wake(id: Id) -> bool {
    let workers = WORKERS.read().unwrap_or_else(PoisonError::into_inner);
    let worker = workers.get(&id);
    worker.inspect(|more| more.notify_one()).is_some()
}

// The end of the program.

static PROGRAM_ENDS: AtomicBool = AtomicBool::new(false);
static COUNT: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// How long the program's end may wait for that of its workers, which takes a message each.
const END: Duration = Duration::from_millis(500);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the program is ending, and its workers are to.
pub fn program_ends() -> bool {
    PROGRAM_ENDS.load(Ordering::Acquire)
}

/// What `exit` calls: gives the workers' threads the time to tell the pod. When it is one of those
/// threads that calls `exit`, that worker cannot, and the time runs out.
extern "C" fn end_all() {
    PROGRAM_ENDS.store(true, Ordering::Release);
    let workers = WORKERS.read().unwrap_or_else(PoisonError::into_inner);
    workers.values().for_each(|more| more.notify_one());
    drop(workers);
    let _ = ENDED.wait_timeout_while(lock(&COUNT), END, |count| *count > 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_worker_is_woken_while_it_runs_and_no_longer() {
        let running = Running::new();
        let id = running.id();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(running.woken()).poll(&mut context).is_pending());
        // Nobody waits just then: it is kept.
        assert!(wake(id) && wake(id));
        assert!(pin!(running.woken()).poll(&mut context).is_ready());
        assert!(pin!(running.woken()).poll(&mut context).is_pending());
        drop(running);
        assert!(!wake(id));
        assert!(!wake(Id::from_number(0)));
        assert_ne!(Running::new().id(), id);
    }
}
