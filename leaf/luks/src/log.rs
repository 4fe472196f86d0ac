//! libcryptsetup's messages go into our errors and nowhere else: by default it prints them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use libcryptsetup_rs::consts::vals::CryptLogLevel;
use libcryptsetup_rs::set_log_callback;

static OPERATION: Mutex<()> = Mutex::new(());
static MESSAGES: Mutex<String> = Mutex::new(String::new());
static REDIRECT: Once = Once::new();

/// Starts an operation: messages until [`take`] belong to it, and no other runs meanwhile.
pub(crate) fn begin() -> MutexGuard<'static, ()> {
    let guard = OPERATION.lock().unwrap_or_else(PoisonError::into_inner);
    REDIRECT.call_once(|| set_log_callback::<()>(Some(collect), None));
    take();
    guard
}

/// The messages since the last call, on one line.
pub(crate) fn take() -> String {
    std::mem::take(&mut *messages())
}

fn messages() -> MutexGuard<'static, String> {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn collect(level: c_int, message: *const c_char, _: *mut c_void) {
    if level != CryptLogLevel::Error as c_int || message.is_null() {
        return;
    }
    // SAFETY: libcryptsetup passes a NUL-terminated string that lives until we return.
    #[allow(unsafe_code)]
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    let mut messages = messages();
    if !messages.is_empty() {
        messages.push_str("; ");
    }
    messages.push_str(text.trim().trim_end_matches('.'));
}
