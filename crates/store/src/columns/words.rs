//! A column of texts: each different text once, and for each customer the number of theirs.

use std::hash::{BuildHasher as _, RandomState};

use super::bits::Bits;

/// Numbers of texts in the narrowest form that takes them. 0 is no text.
#[derive(Debug)]
enum Codes {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl Codes {
    fn put(&mut self, at: usize, code: u32) {
        match (&mut *self, u8::try_from(code), u16::try_from(code)) {
            (Codes::One(codes), Ok(code), _) => codes[at] = code,
            (Codes::Two(codes), _, Ok(code)) => codes[at] = code,
            (Codes::Four(codes), ..) => codes[at] = code,
            (Codes::One(codes), ..) => {
                *self = Codes::Two(codes.iter().map(|code| u16::from(*code)).collect());
                self.put(at, code);
            }
            (Codes::Two(codes), ..) => {
                *self = Codes::Four(codes.iter().map(|code| u32::from(*code)).collect());
                self.put(at, code);
            }
        }
    }

    fn resize(&mut self, length: usize) {
        match self {
            Codes::One(codes) => codes.resize(length, 0),
            Codes::Two(codes) => codes.resize(length, 0),
            Codes::Four(codes) => codes.resize(length, 0),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Codes::One(codes) => codes.capacity(),
            Codes::Two(codes) => codes.capacity() * 2,
            Codes::Four(codes) => codes.capacity() * 4,
        }
    }
}

#[derive(Debug)]
pub(super) struct Words {
    /// All texts, one after the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    /// Codes of the texts by their hash, 0 where there is none; a power of two long.
    slots: Vec<u32>,
    hasher: RandomState,
    codes: Codes,
}

impl Words {
    pub(super) fn new(length: usize) -> Words {
        Words {
            text: String::new(),
            ends: Vec::new(),
            slots: vec![0; 64],
            hasher: RandomState::new(),
            codes: Codes::One(vec![0; length]),
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        self.codes.resize(length);
    }

    pub(super) fn put(&mut self, at: usize, text: Option<&str>) {
        let code = text.map_or(0, |text| self.code(text));
        self.codes.put(at, code);
    }

    /// How many texts there are; those that nobody has any more are among them.
    pub(super) fn different(&self) -> usize {
        self.ends.len()
    }

    fn word(&self, code: u32) -> &str {
        let at = code as usize - 1;
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[from..self.ends[at]]
    }

    fn code(&mut self, text: &str) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.slots[slot] != 0 {
            if self.word(self.slots[slot]) == text {
                return self.slots[slot];
            }
            slot = (slot + 1) & mask;
        }
        self.text.push_str(text);
        self.ends.push(self.text.len());
        let code = self.ends.len() as u32;
        self.slots[slot] = code;
        if self.ends.len() * 2 > self.slots.len() {
            self.widen();
        }
        code
    }

    fn widen(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![0; mask + 1];
        for code in 1..=self.ends.len() as u32 {
            let mut slot = self.hasher.hash_one(self.word(code)) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = code;
        }
        self.slots = slots;
    }

    /// Who has a text that passes; each text is asked once.
    pub(super) fn select(&self, mut holds: impl FnMut(&str) -> bool) -> Bits {
        let mut passes = vec![false; self.ends.len() + 1];
        for code in 1..=self.ends.len() as u32 {
            passes[code as usize] = holds(self.word(code));
        }
        match &self.codes {
            Codes::One(codes) => Bits::of(codes, |code| passes[usize::from(code)]),
            Codes::Two(codes) => Bits::of(codes, |code| passes[usize::from(code)]),
            Codes::Four(codes) => Bits::of(codes, |code| passes[code as usize]),
        }
    }

    /// Who has this text.
    pub(super) fn select_one(&self, text: &str) -> Bits {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.slots[slot] != 0 && self.word(self.slots[slot]) != text {
            slot = (slot + 1) & mask;
        }
        let wanted = self.slots[slot];
        let is = |code: u32| wanted != 0 && code == wanted;
        match &self.codes {
            Codes::One(codes) => Bits::of(codes, |code| is(u32::from(code))),
            Codes::Two(codes) => Bits::of(codes, |code| is(u32::from(code))),
            Codes::Four(codes) => Bits::of(codes, is),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let ends = self.ends.capacity() * size_of::<usize>();
        (self.text.capacity() + ends + self.slots.len() * 4 + self.codes.bytes()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_however_many_there_are() {
        for different in [1, 200, 300, 70_000] {
            let length = different + 10;
            let mut words = Words::new(length);
            for at in 0..different {
                words.put(at, Some(&format!("word {at}")));
            }
            words.put(different + 3, Some("word 0"));
            assert_eq!(words.different(), different);
            assert_eq!(words.select_one("word 0").count(), 2, "{different}");
            assert_eq!(words.select_one("word").count(), 0);
            assert_eq!(words.select(|_| true).count(), different as u64 + 1);
            words.put(0, None);
            words.put(different + 3, Some(""));
            assert_eq!(words.select_one("word 0").count(), 0);
            assert_eq!(words.select(str::is_empty).count(), 1);
        }
    }
}
