//! Returns whether a mutant is on. Two variables of the environment are read once, in the first call.
//!
//! - `TOWER_BEARER_MUTANT`: the number of the mutant that is on. 0 or unset: none.
//! - `TOWER_BEARER_REACHED`: a file. The number of each mutant that the process reaches is appended to it, once.
//!
//! It allocates nothing: some tests count allocations.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn close(file: c_int) -> c_int;
}

const UNREAD: u32 = u32::MAX;
const TRACE: u32 = u32::MAX - 1;

/// The mutant that is on.
static ON: AtomicU32 = AtomicU32::new(UNREAD);

/// The mutants that the process has reached.
static REACHED: [AtomicBool; 1 << 14] = [const { AtomicBool::new(false) }; 1 << 14];

/// Returns whether the mutant `id` is on.
pub fn on(id: u32) -> bool {
    let on = match ON.load(Relaxed) {
        UNREAD => read(),
        on => on,
    };
    if on == TRACE {
        note(id);
        return false;
    }
    on == id
}

fn variable(name: &'static CStr) -> Option<&'static CStr> {
    let value = unsafe { getenv(name.as_ptr()) };
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

fn read() -> u32 {
    let on = if variable(c"TOWER_BEARER_REACHED").is_some() {
        TRACE
    } else {
        let id = variable(c"TOWER_BEARER_MUTANT").and_then(|id| id.to_str().ok());
        id.and_then(|id| id.parse().ok()).unwrap_or(0)
    };
    ON.store(on, Relaxed);
    on
}

/// The file is opened each time, so that a child process, which inherits the variable, adds to it as well.
fn note(id: u32) {
    if REACHED[id as usize].swap(true, Relaxed) {
        return;
    }
    const WRITE_CREATE_APPEND: c_int = 0o1 | 0o100 | 0o2000;
    let mut line = *b"00000\n";
    let mut rest = id;
    for digit in line[..5].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let path = variable(c"TOWER_BEARER_REACHED").expect("the variable is set");
    unsafe {
        let file = open(path.as_ptr(), WRITE_CREATE_APPEND, 0o644);
        assert!(file >= 0, "TOWER_BEARER_REACHED cannot be opened");
        assert_eq!(write(file, line.as_ptr().cast(), line.len()), 6);
        close(file);
    }
}
