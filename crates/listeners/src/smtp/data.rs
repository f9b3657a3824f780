//! Takes a message off the stream: finds its end, unstuffs dots, holds to the limits.
//!
//! Only `CRLF . CRLF` ends a message. What merely looks like an end to a careless server (a dot
//! between bare line feeds or carriage returns) makes the message refused, because such a message
//! is an attempt to smuggle a second one past a relay.

use super::Limits;

/// Why a complete message is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    TooBig,
    LineTooLong,
    /// A dot alone between line ends that are not CRLF.
    FalseEnd,
}

impl Fault {
    pub(super) fn reply(self) -> &'static [u8] {
        match self {
            Self::TooBig => b"552 5.3.4 message too big\r\n",
            Self::LineTooLong => b"554 5.6.0 line too long\r\n",
            Self::FalseEnd => b"550 5.5.2 bare line end around a dot\r\n",
        }
    }
}

/// How the piece before the current one ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Crlf,
    BareLf,
    Middle,
}

/// Collects one message from successive reads.
pub(super) struct Collector {
    message: Vec<u8>,
    fault: Option<Fault>,
    before: Before,
    message_limit: usize,
    line_limit: usize,
}

impl Collector {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            message: Vec::with_capacity(4096),
            fault: None,
            before: Before::Crlf,
            message_limit: limits.message_bytes,
            line_limit: limits.line_bytes,
        }
    }

    /// Takes what it can from the front of `input`: how many bytes, and whether the message ended
    /// with them. What it leaves must be offered again with more behind it.
    pub(super) fn feed(&mut self, input: &[u8]) -> (usize, bool) {
        let mut used = 0;
        while let Some(length) = input[used..].iter().position(|byte| *byte == b'\n') {
            let piece = &input[used..=used + length];
            used += length + 1;
            if self.take(piece) {
                return (used, true);
            }
        }
        let open = &input[used..];
        if open.len() > self.line_limit {
            self.fault.get_or_insert(Fault::LineTooLong);
            // A carriage return at the very end may belong to a line end still to come.
            used += open.len() - 1;
            self.before = Before::Middle;
        }
        (used, false)
    }

    /// Takes one piece that ends in a line feed; true if it was the end of the message.
    fn take(&mut self, piece: &[u8]) -> bool {
        if piece.len() > self.line_limit {
            self.fault.get_or_insert(Fault::LineTooLong);
        }
        let mut text = piece;
        match self.before {
            Before::Crlf if piece == b".\r\n" => return true,
            Before::Crlf if piece == b".\n" => _ = self.fault.get_or_insert(Fault::FalseEnd),
            Before::Crlf => text = piece.strip_prefix(b".").unwrap_or(piece),
            Before::BareLf if piece == b".\r\n" || piece == b".\n" => {
                self.fault.get_or_insert(Fault::FalseEnd);
            }
            Before::BareLf | Before::Middle => {}
        }
        if piece.ends_with(b"\r.\r\n")
            || piece.ends_with(b"\r.\n")
            || has_dot_between_returns(piece)
        {
            self.fault.get_or_insert(Fault::FalseEnd);
        }
        self.before = if piece.ends_with(b"\r\n") { Before::Crlf } else { Before::BareLf };
        if self.message.len() + text.len() > self.message_limit {
            self.fault.get_or_insert(Fault::TooBig);
        }
        if self.fault.is_some() {
            // Read on to the end, but keep nothing of it.
            self.message = Vec::new();
        } else {
            self.message.extend_from_slice(text);
        }
        false
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.message),
        }
    }
}

fn has_dot_between_returns(piece: &[u8]) -> bool {
    piece.contains(&b'\r') && piece.windows(3).any(|three| three == b"\r.\r")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(message_bytes: usize, line_bytes: usize) -> Limits {
        Limits { message_bytes, line_bytes, ..Limits::default() }
    }

    /// What became of the message, and what was left behind its end.
    type Collected = (Result<Vec<u8>, Fault>, Vec<u8>);

    /// Feeds `input` in chunks of `chunk` bytes, as a socket would; `None` if no end was found.
    fn collect(input: &[u8], chunk: usize, limits: &Limits) -> Option<Collected> {
        let mut collector = Collector::new(limits);
        let mut buffer = Vec::new();
        let mut chunks = input.chunks(chunk);
        loop {
            let (used, ended) = collector.feed(&buffer);
            buffer.drain(..used);
            if ended {
                buffer.extend(chunks.flatten());
                return Some((collector.finish(), buffer));
            }
            buffer.extend(chunks.next()?);
        }
    }

    fn check(input: &[u8], expected: Result<&[u8], Fault>) {
        for chunk in [1, 2, 3, 1000] {
            let (got, rest) = collect(input, chunk, &limits(60, 30)).expect("the message ends");
            assert_eq!(got.as_deref(), expected.as_ref().map(|text| *text), "chunks of {chunk}");
            assert_eq!(rest, b"QUIT\r\n");
        }
    }

    #[test]
    fn a_message_ends_at_crlf_dot_crlf_only() {
        check(b".\r\nQUIT\r\n", Ok(b""));
        check(b"one\r\n.\r\nQUIT\r\n", Ok(b"one\r\n"));
        check(b"..\r\n...x\r\n.y\r\n.\r\nQUIT\r\n", Ok(b".\r\n..x\r\ny\r\n"));
        check(b"a\nb\rc\r\n.\r\nQUIT\r\n", Ok(b"a\nb\rc\r\n"));
    }

    #[test]
    fn false_ends_refuse_the_whole_message() {
        for look_alike in
            [&b"\n.\n"[..], b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\n", b"\r.\r", b"\n.\r\n"]
        {
            let mut input = b"a".to_vec();
            input.extend(look_alike);
            input.extend(b"MAIL FROM:<b>\r\n.\r\nQUIT\r\n");
            check(&input, Err(Fault::FalseEnd));
        }
    }

    #[test]
    fn limits_refuse_at_the_end() {
        let long_line = [b"x".repeat(31), b"\r\n.\r\nQUIT\r\n".to_vec()].concat();
        check(&long_line, Err(Fault::LineTooLong));
        let endless_line = [b"x".repeat(200), b"\r\n.\r\nQUIT\r\n".to_vec()].concat();
        check(&endless_line, Err(Fault::LineTooLong));
        let big = [b"0123456789\r\n".repeat(6), b".\r\nQUIT\r\n".to_vec()].concat();
        check(&big, Err(Fault::TooBig));
    }

    proptest! {
        /// However the bytes fall into reads, the outcome is the same.
        #[test]
        fn chunks_do_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..40),
            chunk in 1_usize..8,
        ) {
            let input = [&text[..], b"\r\n.\r\n"].concat();
            let whole = collect(&input, 1000, &limits(1000, 1000));
            prop_assert!(whole.is_some());
            prop_assert_eq!(collect(&input, chunk, &limits(1000, 1000)), whole);
        }
    }
}
