//! Keeps the worker alive at the first DTLS ClientHello on an OpenSSL with kTLS.
//!
//! mediasoup sets a callback on the memory BIO that its DTLS connections write
//! to, to send what is written. That callback (`onSslBioOut`) answers 1 to
//! everything, and OpenSSL takes the answer to a finished control operation for
//! the operation's result. So `BIO_get_ktls_send()` reads as "yes" where libssl
//! is built with kTLS, as Debian's is: libssl then leaves encryption to the
//! kernel, allocates no write buffer, and the process dies of SIGSEGV at the
//! first ClientHello that needs an answer.
//!
//! The linker sends the worker's calls of `BIO_set_callback_ex` here
//! (`--wrap`, see build.rs), and we put a callback in between that lets a
//! control keep its own result.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

/// OpenSSL's `BIO_callback_fn_ex`.
type BioCallback = unsafe extern "C" fn(
    bio: *mut c_void,
    operation: c_int,
    data: *const c_char,
    length: usize,
    argument: c_int,
    long_argument: c_long,
    result: c_int,
    processed: *mut usize,
) -> c_long;

/// `BIO_CB_CTRL | BIO_CB_RETURN` of openssl/bio.h: a control has returned.
const CONTROL_RETURNED: c_int = 0x06 | 0x80;

/// The callback that mediasoup sets, one and the same for every DTLS transport.
static MEDIASOUPS: OnceLock<BioCallback> = OnceLock::new();

/// Passes everything on to mediasoup's callback but the end of a control.
unsafe extern "C" fn keep_control_result(
    bio: *mut c_void,
    operation: c_int,
    data: *const c_char,
    length: usize,
    argument: c_int,
    long_argument: c_long,
    result: c_int,
    processed: *mut usize,
) -> c_long {
    match MEDIASOUPS.get() {
        // SAFETY: OpenSSL's own arguments, passed on as they are.
        Some(callback) if operation != CONTROL_RETURNED => unsafe {
            callback(
                bio,
                operation,
                data,
                length,
                argument,
                long_argument,
                result,
                processed,
            )
        },
        _ => result.into(),
    }
}

// SAFETY: OpenSSL's `BIO_set_callback_ex`, by the name that `--wrap` gives it.
unsafe extern "C" {
    fn __real_BIO_set_callback_ex(bio: *mut c_void, callback: BioCallback);
}

/// Takes the place of `BIO_set_callback_ex` in this program.
///
/// # Safety
/// As for OpenSSL's: `bio` is a live BIO. The callback is never null in
/// mediasoup, which calls this in one place.
// SAFETY: the signature is OpenSSL's; `--wrap` reserves the name for this.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_BIO_set_callback_ex(bio: *mut c_void, callback: BioCallback) {
    MEDIASOUPS.get_or_init(|| callback);
    // SAFETY: the caller's BIO, and a callback that never goes away.
    unsafe { __real_BIO_set_callback_ex(bio, keep_control_result) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    // SAFETY: signatures of openssl/bio.h.
    unsafe extern "C" {
        fn BIO_s_mem() -> *const c_void;
        fn BIO_new(method: *const c_void) -> *mut c_void;
        fn BIO_free(bio: *mut c_void) -> c_int;
        fn BIO_ctrl(bio: *mut c_void, command: c_int, larg: c_long, parg: *mut c_void) -> c_long;
        fn BIO_write(bio: *mut c_void, data: *const c_void, length: c_int) -> c_int;
        fn BIO_set_callback_ex(bio: *mut c_void, callback: BioCallback);
    }

    /// What `BIO_get_ktls_send()` asks.
    const BIO_CTRL_GET_KTLS_SEND: c_int = 73;
    /// What `BIO_pending()` asks.
    const BIO_CTRL_PENDING: c_int = 10;

    /// Answers as mediasoup's `onSslBioOut`.
    unsafe extern "C" fn answers_one(
        _: *mut c_void,
        operation: c_int,
        _: *const c_char,
        _: usize,
        _: c_int,
        _: c_long,
        result: c_int,
        _: *mut usize,
    ) -> c_long {
        const BARE_RETURN: c_int = 0x80;
        if operation == BARE_RETURN {
            result.into()
        } else {
            1
        }
    }

    /// Of a memory BIO that holds three bytes: (kTLS active?, bytes pending).
    fn controls_under(set_callback: unsafe extern "C" fn(*mut c_void, BioCallback)) -> (i64, i64) {
        // SAFETY: a BIO of our own, used as bio.h says and freed at the end.
        unsafe {
            let bio = BIO_new(BIO_s_mem());
            assert!(!bio.is_null());
            set_callback(bio, answers_one);
            assert_eq!(BIO_write(bio, c"abc".as_ptr().cast(), 3), 3);
            let ktls = BIO_ctrl(bio, BIO_CTRL_GET_KTLS_SEND, 0, ptr::null_mut());
            let pending = BIO_ctrl(bio, BIO_CTRL_PENDING, 0, ptr::null_mut());
            BIO_free(bio);
            (ktls, pending)
        }
    }

    /// The fault is in the system's OpenSSL: without the cure a control's
    /// result is mediasoup's 1.
    #[test]
    fn without_the_cure_a_memory_bio_claims_ktls() {
        assert_eq!(controls_under(__real_BIO_set_callback_ex), (1, 1));
    }

    /// A plain call of `BIO_set_callback_ex` in this program, as the worker's
    /// is, comes by our wrapper, and controls keep their results.
    #[test]
    fn with_the_cure_controls_keep_their_results() {
        assert_eq!(controls_under(BIO_set_callback_ex), (0, 3));
    }
}
