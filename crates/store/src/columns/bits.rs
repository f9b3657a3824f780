//! One bit a customer: who passes a test.

use roaring::RoaringBitmap;

/// Bits by position. Those beyond the length it was made for are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn none(length: usize) -> Bits {
        Bits(vec![0; length.div_ceil(64)])
    }

    /// Bits of values that lie side by side.
    pub(super) fn of<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> Bits {
        let words = values.chunks(64).map(|chunk| {
            let bits = chunk.iter().enumerate();
            bits.fold(0, |word, (at, value)| word | (u64::from(holds(*value)) << at))
        });
        Bits(words.collect())
    }

    /// The positions below `length` that a set holds.
    pub(super) fn of_set(set: &RoaringBitmap, length: usize) -> Bits {
        let mut bits = Bits::none(length);
        for at in set.iter().take_while(|at| (*at as usize) < length) {
            bits.0[at as usize / 64] |= 1 << (at % 64);
        }
        bits
    }

    pub(super) fn put(&mut self, at: usize, value: bool) {
        let (word, bit) = (&mut self.0[at / 64], 1 << (at % 64));
        if value { *word |= bit } else { *word &= !bit }
    }

    pub(super) fn resize(&mut self, length: usize) {
        self.0.resize(length.div_ceil(64), 0);
    }

    pub(super) fn and(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own &= other);
    }

    pub(super) fn or(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
    }

    /// What is in `whole` and not in this.
    pub(super) fn missing_from(mut self, whole: &Bits) -> Bits {
        self.0.iter_mut().zip(&whole.0).for_each(|(own, whole)| *own = whole & !*own);
        self
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.len() as u64 * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_joined_and_counted() {
        let numbers: Vec<i64> = (0..200).collect();
        let whole = Bits::of(&numbers, |_| true);
        assert_eq!(whole.count(), 200);
        let mut even = Bits::of(&numbers, |number| number % 2 == 0);
        let high = Bits::of(&numbers, |number| number >= 100);
        assert_eq!(even.clone().missing_from(&whole).count(), 100);
        even.and(&high);
        assert_eq!(even.count(), 50);
        even.or(&Bits::of_set(&[1, 3, 199, 500].into_iter().collect(), 200));
        assert_eq!(even.count(), 53);
        even.put(1, false);
        even.put(0, true);
        assert_eq!(even.count(), 53);
    }
}
