//! Which variant of a test is better, so that looking every day misleads nobody.
//!
//! The customers of a test are drawn by lot, so if two variants were equal, the customers who react
//! would be a draw without replacement from an urn with as many balls of each colour as customers
//! got each variant. Whoever bets against that urn in the order in which reactions come in has a
//! capital whose mean never grows; by Ville's inequality it ever passes `1 / a` with a chance of at
//! most `a`, however often somebody looks and whenever they stop. The bets are on odds of reacting
//! that are so and so much higher for one of the two; the capital is their mean. Reactions of one
//! minute have no order among themselves; there Hoeffding's theorem of 1963 bounds the urn's moments
//! by those of a draw with replacement, which can only make the capital smaller.
//!
//! With `k` variants there are `k (k - 1)` such bets, and a variant has won once its bets against
//! all others have each passed `k (k - 1) / ALPHA`. No normal approximation, no least sample size.

/// The chance of a false winner over the whole life of a test, at most.
pub const ALPHA: f64 = 0.05;

/// How much higher the odds are that the bets are on.
const ODDS: [f64; 10] = [1.02, 1.05, 1.1, 1.15, 1.25, 1.4, 1.6, 2.0, 3.0, 6.0];

/// What has been seen of a test so far.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Customers who got each variant.
    customers: Vec<u64>,
    /// Of those, who have reacted.
    reacted: Vec<u64>,
    /// For every ordered pair: the logarithms of the capitals of its bets.
    bets: Vec<[f64; ODDS.len()]>,
    /// For every ordered pair: the logarithm of the highest capital that there ever was.
    highest: Vec<f64>,
}

impl Evidence {
    /// A test whose variants went to so many customers. All of its customers must be there: the urn
    /// does not change.
    pub fn new(customers: Vec<u64>) -> Evidence {
        let pairs = customers.len() * customers.len();
        Evidence {
            reacted: vec![0; customers.len()],
            bets: vec![[0.0; ODDS.len()]; pairs],
            highest: vec![0.0; pairs],
            customers,
        }
    }

    /// Takes in the customers who reacted for the first time in the next stretch of time.
    pub fn add(&mut self, reactions: &[u64]) {
        let count = self.customers.len();
        let left: Vec<f64> = (0..count)
            .map(|at| self.customers[at].saturating_sub(self.reacted[at]) as f64)
            .collect();
        for better in 0..count {
            for worse in 0..count {
                if better != worse {
                    self.bet(better, worse, &left, reactions);
                }
            }
        }
        for (reacted, new) in self.reacted.iter_mut().zip(reactions) {
            *reacted += new;
        }
    }

    fn bet(&mut self, better: usize, worse: usize, left: &[f64], reactions: &[u64]) {
        let (hits, misses) = (reactions[better] as f64, reactions[worse] as f64);
        let whole = left[better] + left[worse];
        if hits + misses == 0.0 || whole == 0.0 {
            return;
        }
        let share = left[better] / whole;
        let pair = better * self.customers.len() + worse;
        let bets = &mut self.bets[pair];
        for (capital, odds) in bets.iter_mut().zip(ODDS) {
            *capital += hits * odds.ln() - (hits + misses) * (1.0 - share + share * odds).ln();
        }
        let most = bets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = bets.iter().map(|capital| (capital - most).exp()).sum();
        let mean = most + (sum / ODDS.len() as f64).ln();
        self.highest[pair] = self.highest[pair].max(mean);
    }

    /// The chance of evidence this strong for `better` over `worse` if they were equal, at most;
    /// holds at any time, and for all pairs of the test together.
    pub fn chance(&self, better: usize, worse: usize) -> f64 {
        let count = self.customers.len();
        let pairs = (count * count.saturating_sub(1)) as f64;
        (pairs * (-self.highest[better * count + worse]).exp()).min(1.0)
    }

    /// The variant that is certainly better than every other, if one is.
    pub fn winner(&self) -> Option<usize> {
        let count = self.customers.len();
        (0..count).find(|better| {
            (0..count).all(|worse| *better == worse || self.chance(*better, worse) <= ALPHA)
        })
    }

    /// The variant with the highest share of customers who reacted; the first of equals.
    pub fn best(&self) -> usize {
        let rate = |at: usize| match self.customers[at] {
            0 => 0.0,
            customers => self.reacted[at] as f64 / customers as f64,
        };
        (0..self.customers.len()).fold(0, |best, at| if rate(at) > rate(best) { at } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64, so that every run of the simulation is the same.
    struct Dice(u64);

    impl Dice {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// A test that is looked at every day.
    struct Simulated {
        customers: Vec<u64>,
        /// What share of each variant's customers reacts in the end.
        rates: Vec<f64>,
        days: usize,
    }

    impl Simulated {
        /// Reactions of each day: most come early, as with mails.
        fn play(&self, dice: &mut Dice) -> Vec<Vec<u64>> {
            let mut by_day = vec![vec![0; self.rates.len()]; self.days];
            for (variant, rate) in self.rates.iter().enumerate() {
                for _ in 0..self.customers[variant] {
                    if dice.uniform() < *rate {
                        let late = dice.uniform().powi(3);
                        by_day[(late * self.days as f64) as usize][variant] += 1;
                    }
                }
            }
            by_day
        }

        /// In how many of the runs each variant was ever called the winner at a daily look, and in
        /// how many a comparison of the first two as if it were the only one found a difference.
        fn run(&self, runs: usize, seed: u64) -> (Vec<usize>, usize) {
            let mut dice = Dice(seed);
            let mut won = vec![0; self.rates.len()];
            let mut naive = 0;
            for _ in 0..runs {
                let mut evidence = Evidence::new(self.customers.clone());
                let mut fooled = false;
                let mut winner = None;
                for day in self.play(&mut dice) {
                    evidence.add(&day);
                    fooled |= z_score(&evidence).abs() > 1.96;
                    winner = winner.or(evidence.winner());
                }
                if let Some(winner) = winner {
                    won[winner] += 1;
                }
                naive += usize::from(fooled);
            }
            (won, naive)
        }
    }

    fn z_score(evidence: &Evidence) -> f64 {
        let (n, m) = (evidence.customers[0] as f64, evidence.customers[1] as f64);
        let (a, b) = (evidence.reacted[0] as f64, evidence.reacted[1] as f64);
        let pooled = (a + b) / (n + m);
        let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        if deviation == 0.0 { 0.0 } else { (a / n - b / m) / deviation }
    }

    #[test]
    fn equal_variants_have_a_false_winner_in_at_most_5_percent_of_tests() {
        for (customers, rates, days) in [
            (vec![1_000, 1_000], vec![0.2, 0.2], 60),
            (vec![2_000, 500], vec![0.03, 0.03], 60),
            (vec![300, 300], vec![0.6, 0.6], 30),
            (vec![800, 800, 800, 800], vec![0.15, 0.15, 0.15, 0.15], 60),
            (vec![40, 40], vec![0.5, 0.5], 30),
        ] {
            let simulated = Simulated { customers, rates, days };
            let (won, _) = simulated.run(1_000, 1);
            let false_winners: usize = won.iter().sum();
            let what = (&simulated.customers, &simulated.rates);
            assert!(false_winners <= 50, "{what:?}: {false_winners} of 1,000");
        }
    }

    /// The simulation can tell: the usual comparison, made every day, is wrong far more often.
    #[test]
    fn the_usual_comparison_is_fooled_by_daily_looks() {
        let customers = vec![1_000, 1_000];
        let simulated = Simulated { customers, rates: vec![0.2, 0.2], days: 60 };
        let (_, naive) = simulated.run(1_000, 1);
        assert!(naive > 150, "{naive} of 1,000");
    }

    #[test]
    fn two_that_are_equal_and_best_have_no_winner_though_a_third_is_worse() {
        let customers = vec![2_000, 2_000, 2_000];
        let simulated = Simulated { customers, rates: vec![0.2, 0.2, 0.1], days: 30 };
        let (won, _) = simulated.run(300, 2);
        assert!(won.iter().sum::<usize>() <= 15, "{won:?} of 300");
    }

    #[test]
    fn a_real_difference_is_found() {
        for (customers, rates, at_least) in [
            (5_000, [0.10, 0.13], 270),
            (10_000, [0.20, 0.22], 150),
            (20_000, [0.20, 0.22], 270),
            (1_000, [0.20, 0.28], 225),
            (20_000, [0.02, 0.026], 200),
        ] {
            let customers = vec![customers, customers];
            let simulated = Simulated { customers, rates: rates.to_vec(), days: 14 };
            let (won, _) = simulated.run(300, 3);
            assert!(won[1] >= at_least, "{rates:?}: {won:?} of 300");
            assert!(won[0] <= 1, "{rates:?}: {won:?} of 300");
        }
    }

    #[test]
    fn the_best_is_the_first_of_equals_and_nobody_reacting_is_no_winner() {
        let mut evidence = Evidence::new(vec![10, 20, 0]);
        assert_eq!((evidence.best(), evidence.winner()), (0, None));
        evidence.add(&[2, 4, 0]);
        assert_eq!((evidence.best(), evidence.winner()), (0, None));
        evidence.add(&[0, 2, 0]);
        assert_eq!(evidence.best(), 1);
        assert_eq!(evidence.chance(0, 2), 1.0);
    }
}
