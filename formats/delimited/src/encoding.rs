//! Encodings: bytes of a file become UTF-8 as they are read, and text goes back into the encoding
//! that it came in.

use std::io::{self, ErrorKind, Read};

use crate::Encoding;

/// What stands where bytes are no character, such as half a surrogate pair. It is no UTF-8, so
/// that the row is refused and not silently changed.
const BROKEN: u8 = 0xff;
const CHUNK_BYTES: usize = 64 * 1024;

/// What the bytes 0x80 to 0x9F stand for in Windows-1252. The five that it leaves out stand for
/// control characters, as browsers read them.
const HIGH_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The byte order mark of an encoding; empty where it has none.
pub(crate) fn mark(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Utf8 => b"\xef\xbb\xbf",
        Encoding::Utf16Le => b"\xff\xfe",
        Encoding::Utf16Be => b"\xfe\xff",
        Encoding::Windows1252 | Encoding::Iso88591 => b"",
    }
}

/// An input in any encoding, read as UTF-8. UTF-8 itself passes through untouched; of UTF-16 the
/// byte order mark is left out.
#[derive(Debug)]
pub struct Decoder<R> {
    input: R,
    encoding: Encoding,
    raw: Vec<u8>,
    /// Bytes of half a character at the beginning of `raw`.
    kept: usize,
    text: Vec<u8>,
    given: usize,
    begun: bool,
    ended: bool,
}

impl<R: Read> Decoder<R> {
    pub fn new(input: R, encoding: Encoding) -> Self {
        Decoder {
            input,
            encoding,
            raw: Vec::new(),
            kept: 0,
            text: Vec::new(),
            given: 0,
            begun: false,
            ended: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.raw.resize(CHUNK_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.raw[self.kept..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let have = self.kept + read;
        self.ended = read == 0;
        self.text.clear();
        self.given = 0;
        let taken = decode(&self.raw[..have], self.encoding, self.ended, &mut self.text);
        self.raw.copy_within(taken..have, 0);
        self.kept = have - taken;
        if !self.begun && !self.text.is_empty() {
            self.begun = true;
            if self.encoding != Encoding::Utf8 && self.text.starts_with(mark(Encoding::Utf8)) {
                self.given = 3;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.encoding == Encoding::Utf8 {
            return self.input.read(buffer);
        }
        while self.given == self.text.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            self.fill()?;
        }
        let ready = &self.text[self.given..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.given += count;
        Ok(count)
    }
}

/// A whole sample as UTF-8, a byte order mark included.
pub(crate) fn decoded(bytes: &[u8], encoding: Encoding, whole: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 2);
    decode(bytes, encoding, whole, &mut text);
    text
}

/// Appends the characters of `bytes` and says how many bytes they were; at the `end` all are taken.
fn decode(bytes: &[u8], encoding: Encoding, end: bool, text: &mut Vec<u8>) -> usize {
    match encoding {
        Encoding::Utf8 => {
            text.extend_from_slice(bytes);
            bytes.len()
        }
        Encoding::Windows1252 | Encoding::Iso88591 => {
            for &byte in bytes {
                match byte {
                    0..0x80 => text.push(byte),
                    0x80..0xa0 if encoding == Encoding::Windows1252 => {
                        push(text, HIGH_1252[usize::from(byte - 0x80)]);
                    }
                    _ => push(text, char::from(byte)),
                }
            }
            bytes.len()
        }
        Encoding::Utf16Le => utf16(bytes, u16::from_le_bytes, end, text),
        Encoding::Utf16Be => utf16(bytes, u16::from_be_bytes, end, text),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, end: bool, text: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(&[a, b]) = bytes.get(at..at + 2) {
        let first = unit([a, b]);
        at += 2;
        if !(0xd800..0xdc00).contains(&first) {
            match char::from_u32(u32::from(first)) {
                Some(c) => push(text, c),
                None => text.push(BROKEN),
            }
            continue;
        }
        let second = match bytes.get(at..at + 2) {
            Some(&[a, b]) => unit([a, b]),
            // The other half is still to come.
            _ if !end => return at - 2,
            _ => 0,
        };
        match char::decode_utf16([first, second]).next() {
            Some(Ok(c)) => {
                push(text, c);
                at += 2;
            }
            _ => text.push(BROKEN),
        }
    }
    if end && at < bytes.len() {
        text.push(BROKEN);
        at = bytes.len();
    }
    at
}

fn push(text: &mut Vec<u8>, c: char) {
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends UTF-8 text in an encoding; what it has no character for becomes a question mark.
pub(crate) fn encode(text: &[u8], encoding: Encoding, out: &mut Vec<u8>) {
    if encoding == Encoding::Utf8 {
        out.extend_from_slice(text);
        return;
    }
    for c in String::from_utf8_lossy(text).chars() {
        match encoding {
            Encoding::Utf8 => {}
            Encoding::Utf16Le => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out.extend(u.to_le_bytes()));
            }
            Encoding::Utf16Be => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out.extend(u.to_be_bytes()));
            }
            Encoding::Iso88591 => out.push(u8::try_from(u32::from(c)).unwrap_or(b'?')),
            Encoding::Windows1252 => out.push(match u32::from(c) {
                code @ (0..0x80 | 0xa0..0x100) => code as u8,
                _ => match HIGH_1252.iter().position(|high| *high == c) {
                    Some(at) => 0x80 + at as u8,
                    None => b'?',
                },
            }),
        }
    }
}

/// The encoding of an input, and whether a byte order mark says so. Reads on from a beginning that
/// is all ASCII to the first bytes that tell, at most to the end.
///
/// # Errors
/// When the input fails.
pub fn detect_encoding(mut input: impl Read) -> io::Result<(Encoding, bool)> {
    let mut block = vec![0; CHUNK_BYTES];
    let mut kept = 0;
    let mut first = true;
    loop {
        let mut have = kept;
        while have < block.len() {
            match input.read(&mut block[have..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) => return Err(error),
            }
        }
        let ended = have < block.len();
        if first {
            if let Some(found) = by_mark_or_nuls(&block[..have]) {
                return Ok(found);
            }
            first = false;
        }
        if !block[..have].is_ascii() {
            let (good, bad) = beyond_ascii(&block[..have], ended);
            if good + bad > 0 {
                return Ok((by_counts(good, bad), false));
            }
        }
        if ended {
            return Ok((Encoding::Utf8, false));
        }
        // A character may be cut at the end of the block.
        kept = 3;
        block.copy_within(have - kept..have, 0);
    }
}

/// The encoding by a sample alone.
pub(crate) fn encoding_of(sample: &[u8], whole: bool) -> (Encoding, bool) {
    by_mark_or_nuls(sample).unwrap_or_else(|| {
        let (good, bad) = beyond_ascii(sample, whole);
        (by_counts(good, bad), false)
    })
}

fn by_mark_or_nuls(sample: &[u8]) -> Option<(Encoding, bool)> {
    for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be] {
        if sample.starts_with(mark(encoding)) {
            return Some((encoding, true));
        }
    }
    // Western text in UTF-16 has a NUL in nearly every other byte; a stray NUL is a row's fault.
    let nuls = |offset| sample.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd, pairs) = (nuls(0), nuls(1), sample.len() / 2);
    if pairs > 1 && odd * 10 >= pairs * 7 && even * 10 < pairs {
        return Some((Encoding::Utf16Le, false));
    }
    if pairs > 1 && even * 10 >= pairs * 7 && odd * 10 < pairs {
        return Some((Encoding::Utf16Be, false));
    }
    None
}

/// In a UTF-8 file with some broken cells the whole characters are in the majority; in Latin-1
/// text hardly two neighbouring letters happen to look like one. Windows-1252 reads Latin-1 too.
fn by_counts(good: usize, bad: usize) -> Encoding {
    if bad > good { Encoding::Windows1252 } else { Encoding::Utf8 }
}

/// How many characters beyond ASCII are valid UTF-8, and how many byte sequences are not.
fn beyond_ascii(sample: &[u8], whole: bool) -> (usize, usize) {
    let (mut good, mut bad) = (0, 0);
    let mut chunks = sample.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        // The sample may end in the middle of a character.
        let cut = !whole && chunks.peek().is_none() && chunk.invalid().len() < 4;
        if !chunk.invalid().is_empty() && !cut {
            bad += 1;
        }
    }
    (good, bad)
}
