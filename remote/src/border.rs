//! What `mediasoup-sys` 0.18.1 declares of the C++ worker: its types, and the two functions.

use crate::run::run;
use crate::workers;
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{ptr, slice};

/// Stands for libuv's `uv_async_t`: names a running worker, for [`uv_async_send`]. It is a number
/// and nothing is behind it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct UvAsyncT(pub *const c_void);

// SAFETY: it is never dereferenced.
unsafe impl Send for UvAsyncT {}

/// The `mediasoup` crate's own, for its [`ChannelReadFn`].
#[repr(transparent)]
pub struct ChannelReadCtx(pub *const c_void);

// SAFETY: the crate makes it to be used in the worker's thread, by one thread at a time.
unsafe impl Send for ChannelReadCtx {}

/// The `mediasoup` crate's own, for its [`ChannelWriteFn`].
#[repr(transparent)]
pub struct ChannelWriteCtx(pub *const c_void);

// SAFETY: as of `ChannelReadCtx`.
unsafe impl Send for ChannelWriteCtx {}

/// Frees a message: its bytes, its length and what the crate calls its context.
pub type ChannelReadFreeFn = Option<unsafe extern "C" fn(*mut u8, u32, usize)>;

/// Gives the next message to the worker, without a size before it; `None` when there is none, and
/// then `uv_async_send` is called on the handle as soon as there is.
pub type ChannelReadFn = unsafe extern "C" fn(
    *mut *mut u8,
    *mut u32,
    *mut usize,
    UvAsyncT,
    ChannelReadCtx,
) -> ChannelReadFreeFn;

/// Takes a message of the worker, with its size before it.
pub type ChannelWriteFn = unsafe extern "C" fn(*const u8, u32, ChannelWriteCtx);

/// The application's queue of requests and notifications for its worker.
pub(crate) struct Requests {
    read: ChannelReadFn,
    context: ChannelReadCtx,
}

impl Requests {
    /// Calls `with` with the next message; `None` when there is none. `worker` is woken as soon as
    /// there is another one.
    pub fn next<T>(&mut self, worker: workers::Id, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let (mut bytes, mut length, mut capacity) = (ptr::null_mut(), 0, 0);
        let handle = UvAsyncT(ptr::without_provenance(worker.number()));
        let context = ChannelReadCtx(self.context.0);
        // SAFETY: the crate's function with its context, which both outlive the run that owns
        // `self` (see `mediasoup_worker_run`), called by one thread at a time as `self` is borrowed.
        let free = unsafe { (self.read)(&mut bytes, &mut length, &mut capacity, handle, context) }?;
        // SAFETY: with a function to free it by, the crate gives us a message: `length` bytes that
        // are ours until we do so.
        let result = with(unsafe { slice::from_raw_parts(bytes, length as usize) });
        // SAFETY: exactly what the crate gave, once, and the slice is gone.
        unsafe { free(bytes, length, capacity) };
        Some(result)
    }
}

/// Where the worker's responses and notifications go.
pub(crate) struct Responses {
    write: ChannelWriteFn,
    context: ChannelWriteCtx,
}

impl Responses {
    /// Hands on one message, which has its size before it. The application's own callbacks run
    /// in this call.
    pub fn deliver(&mut self, message: &[u8]) {
        let context = ChannelWriteCtx(self.context.0);
        // SAFETY: as in `Requests::next`; the crate copies what it keeps. A message is smaller than
        // 4 GiB, as its size stands in four bytes.
        unsafe { (self.write)(message.as_ptr(), message.len() as u32, context) };
    }
}

/// Runs a worker in the media pod that the environment names, until its end. See the crate's
/// documentation for what it returns.
///
/// # Safety
///
/// `argv` points to `argc` C strings, the first of which is not an argument, and `version` to one.
/// The functions can be called with their contexts until this one returns, in this thread.
pub unsafe extern "C" fn mediasoup_worker_run(
    argc: c_int,
    argv: *const *const c_char,
    version: *const c_char,
    _consumer_channel_fd: c_int,
    _producer_channel_fd: c_int,
    channel_read_fn: ChannelReadFn,
    channel_read_ctx: ChannelReadCtx,
    channel_write_fn: ChannelWriteFn,
    channel_write_ctx: ChannelWriteCtx,
) -> c_int {
    // SAFETY: the caller's promise on strings, for this and the calls below.
    let text = |string| {
        unsafe { CStr::from_ptr(string) }
            .to_string_lossy()
            .into_owned()
    };
    let arguments = (1..usize::try_from(argc).unwrap_or(0))
        // SAFETY: the caller's promise on `argv`.
        .map(|index| text(unsafe { *argv.add(index) }))
        .collect();
    let version = text(version);
    let requests = Requests {
        read: channel_read_fn,
        context: channel_read_ctx,
    };
    let responses = Responses {
        write: channel_write_fn,
        context: channel_write_ctx,
    };
    // C knows no unwinding. What a panic leaves half done is dropped with the closure.
    let run = AssertUnwindSafe(|| run(arguments, version, requests, responses));
    catch_unwind(run).unwrap_or(crate::EXIT_NO_POD)
}

/// libuv's `EBADF`.
const UV_EBADF: c_int = -9;

/// Tells a worker that its [`ChannelReadFn`] has something. May be called from any thread, and after
/// the worker has ended: it then answers an error, and the crate that the channel is closed.
///
/// # Safety
///
/// None is needed; it is marked so because libuv's is.
pub unsafe extern "C" fn uv_async_send(handle: UvAsyncT) -> c_int {
    match workers::wake(workers::Id::from_number(handle.0.addr())) {
        true => 0,
        false => UV_EBADF,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::VecDeque;

    /// An application's queue, as the crate has one.
    #[derive(Default)]
    pub struct Queue {
        pub messages: VecDeque<Vec<u8>>,
        pub handle: Option<usize>,
    }

    thread_local! {
        static FREED: Cell<usize> = const { Cell::new(0) };
    }

    unsafe extern "C" fn free(bytes: *mut u8, length: u32, capacity: usize) {
        // SAFETY: `read` took these three from a vector and forgot it.
        drop(unsafe { Vec::from_raw_parts(bytes, length as usize, capacity) });
        FREED.set(FREED.get() + 1);
    }

    unsafe extern "C" fn read(
        bytes: *mut *mut u8,
        length: *mut u32,
        capacity: *mut usize,
        handle: UvAsyncT,
        context: ChannelReadCtx,
    ) -> ChannelReadFreeFn {
        // SAFETY: the context that `requests` gave, whose borrow lives as long as the test.
        let queue = unsafe { &mut *context.0.cast_mut().cast::<Queue>() };
        queue.handle = Some(handle.0.addr());
        let mut message = std::mem::ManuallyDrop::new(queue.messages.pop_front()?);
        // SAFETY: three places of the caller's.
        unsafe {
            *bytes = message.as_mut_ptr();
            *length = message.len() as u32;
            *capacity = message.capacity();
        }
        Some(free)
    }

    pub fn requests(queue: &mut Queue) -> Requests {
        Requests {
            read,
            context: ChannelReadCtx(ptr::from_mut(queue).cast()),
        }
    }

    #[test]
    fn each_message_is_seen_and_freed_once() {
        let mut queue = Queue::default();
        queue
            .messages
            .extend([b"one".to_vec(), Vec::new(), b"three".to_vec()]);
        let mut requests = requests(&mut queue);
        let worker = workers::Id::from_number(7);
        let mut seen = Vec::new();
        while let Some(message) = requests.next(worker, <[u8]>::to_vec) {
            seen.push(message);
            assert_eq!(FREED.get(), seen.len());
        }
        assert_eq!(seen, [&b"one"[..], b"", b"three"]);
        assert_eq!(queue.handle, Some(7));
    }

    unsafe extern "C" fn write(bytes: *const u8, length: u32, context: ChannelWriteCtx) {
        // SAFETY: a message of `deliver`, and the context below.
        unsafe {
            let message = slice::from_raw_parts(bytes, length as usize);
            (*context.0.cast_mut().cast::<Vec<u8>>()).extend(message);
        }
    }

    #[test]
    fn responses_arrive_as_they_are() {
        let mut heard = Vec::<u8>::new();
        let context = ChannelWriteCtx(ptr::from_mut(&mut heard).cast());
        Responses { write, context }.deliver(&[1, 0, 0, 0, 9]);
        assert_eq!(heard, [1, 0, 0, 0, 9]);
    }

    #[test]
    fn a_handle_of_no_worker_is_an_error_and_nothing_else() {
        for number in [0, usize::MAX] {
            let handle = UvAsyncT(ptr::without_provenance(number));
            // SAFETY: none is needed.
            assert_eq!(unsafe { uv_async_send(handle) }, UV_EBADF);
        }
    }
}
