//! Makes inputs out of others.

/// The longest input that is made.
const LONGEST: usize = 64 * 1024;

/// What parsers of all kinds trip over.
const ODD: &[&[u8]] = &[
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\"",
    b"'",
    b"\\",
    b",",
    b";",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"<",
    b">",
    b"&",
    b"%",
    b"|",
    b"=",
    b"/",
    b"..",
    b"-",
    b"+",
    b"@",
    b"#",
    b"$",
    b"*",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xc3\x28",
    b"\xf0\x9f\x92\xa9",
    b"\xed\xa0\x80",
    "\u{202e}".as_bytes(),
    "\u{0130}".as_bytes(),
    "\u{1e9e}".as_bytes(),
    b"-1",
    b"0",
    b"255",
    b"65536",
    b"2147483648",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e400",
    b"1e-400",
    b"0.1",
    b"NaN",
    b"null",
    b"true",
    b"9999-12-31T23:59:60Z",
    b"0000-00-00",
];

/// A small source of random numbers; the same seed gives the same ones.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap_or_default()
    }

    /// A piece of some bytes: a short one most of the time.
    fn piece(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        if bytes.is_empty() {
            return 0..0;
        }
        let start = self.below(bytes.len());
        let most =
            if self.below(4) == 0 { bytes.len() - start } else { 16.min(bytes.len() - start) };
        start..start + self.below(most + 1)
    }
}

/// One input out of a corpus, changed in one to six places.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        change(random, corpus, &mut bytes);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn change(random: &mut Random, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap_or_default(),
        2 => {
            bytes.drain(random.piece(bytes));
        }
        3 => {
            let piece = bytes[random.piece(bytes)].to_vec();
            splice(bytes, at, &piece);
        }
        // Many times the same: what nests goes deep, what repeats grows long.
        4 => {
            let piece = bytes[random.piece(bytes)].to_vec();
            let times = 1 << random.below(if piece.len() > 64 { 4 } else { 11 });
            splice(bytes, at, &piece.repeat(times));
        }
        5 => {
            let other = &corpus[random.below(corpus.len())];
            let piece = other[random.piece(other)].to_vec();
            splice(bytes, at, &piece);
        }
        6 => {
            let other = corpus[random.below(corpus.len())].clone();
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        7 => bytes.truncate(at),
        _ => splice(bytes, at, ODD[random.below(ODD.len())]),
    }
}

fn splice(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
