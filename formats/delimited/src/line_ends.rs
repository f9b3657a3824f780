//! Counting lines, where CRLF, LF and a lone CR each end one.

/// Counts over any number of pieces; a CRLF cut in two still counts once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineCount {
    pub lines: u64,
    after_cr: bool,
}

impl LineCount {
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\r' || (byte == b'\n' && !self.after_cr) {
                self.lines += 1;
            }
            self.after_cr = byte == b'\r';
        }
    }
}

/// `bytes` without the one line ending they may end in.
pub(crate) fn trim_line_end(bytes: &[u8]) -> &[u8] {
    match bytes {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n' | b'\r'] => rest,
        _ => bytes,
    }
}
