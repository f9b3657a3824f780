//! Plain columns in memory, and one pass over them: the least that a count can be.

use std::hint::black_box;

use crate::people::person;

/// Three attributes of the generated customers, each an array.
pub struct Plain {
    countries: Vec<[u8; 2]>,
    scores: Vec<i64>,
    newsletters: Vec<bool>,
}

impl Plain {
    pub fn of(customers: u64) -> Plain {
        let (mut countries, mut scores, mut newsletters) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..customers {
            let one = person(number);
            let letters = one.country.as_bytes();
            countries.push([letters[0], letters[1]]);
            scores.push(one.score);
            newsletters.push(one.newsletter);
        }
        Plain { countries, scores, newsletters }
    }

    /// How many live there, have more than this score and want the newsletter.
    pub fn count(&self, country: [u8; 2], score: i64) -> u64 {
        let (country, score) = black_box((country, score));
        let mut count = 0;
        for ((theirs, points), wants) in
            self.countries.iter().zip(&self.scores).zip(&self.newsletters)
        {
            count += u64::from(*theirs == country) & u64::from(*points > score) & u64::from(*wants);
        }
        black_box(count)
    }
}
