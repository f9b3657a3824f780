//! How much better the customers of one arm did than those of another, with an interval that holds
//! the true difference 95 times of 100. It is meant for one look at the end of the window.

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A difference and its interval, in the unit of what was compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    pub difference: f64,
    pub low: f64,
    pub high: f64,
}

/// A sum over customers: how many there are, their sum and the sum of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    pub customers: f64,
    pub sum: f64,
    pub squares: f64,
}

/// Wilson's interval of a share.
fn wilson(hits: f64, of: f64) -> (f64, f64) {
    let rate = hits / of;
    let z2 = Z * Z;
    let middle = rate + z2 / (2.0 * of);
    let half = Z * (rate * (1.0 - rate) / of + z2 / (4.0 * of * of)).sqrt();
    let scale = 1.0 + z2 / of;
    ((middle - half) / scale, (middle + half) / scale)
}

/// The difference of two shares with Newcombe's interval of 1998, which also holds for few hits.
/// Each is given as hits and customers; `None` where one has no customers.
pub fn difference_of_rates(one: (i64, i64), other: (i64, i64)) -> Option<Difference> {
    if one.1 <= 0 || other.1 <= 0 {
        return None;
    }
    let (one, other) = ((one.0 as f64, one.1 as f64), (other.0 as f64, other.1 as f64));
    let (p, q) = (one.0 / one.1, other.0 / other.1);
    let ((p_low, p_high), (q_low, q_high)) = (wilson(one.0, one.1), wilson(other.0, other.1));
    let difference = p - q;
    let below = ((p - p_low).powi(2) + (q_high - q).powi(2)).sqrt();
    let above = ((p_high - p).powi(2) + (q - q_low).powi(2)).sqrt();
    Some(Difference { difference, low: difference - below, high: difference + above })
}

/// The difference of two means a customer; `None` where one has fewer than two customers.
pub fn difference_of_means(one: Means, other: Means) -> Option<Difference> {
    if one.customers < 2.0 || other.customers < 2.0 {
        return None;
    }
    let mean = |of: Means| of.sum / of.customers;
    let error = |of: Means| {
        let spread = of.squares - of.customers * mean(of).powi(2);
        spread.max(0.0) / (of.customers - 1.0) / of.customers
    };
    let difference = mean(one) - mean(other);
    let half = Z * (error(one) + error(other)).sqrt();
    Some(Difference { difference, low: difference - half, high: difference + half })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Difference, expected: (f64, f64, f64)) {
        let all =
            [(found.difference, expected.0), (found.low, expected.1), (found.high, expected.2)];
        assert!(all.iter().all(|(a, b)| (a - b).abs() < 5e-5), "{found:?} {expected:?}");
    }

    /// The examples of Newcombe's paper, method 10.
    #[test]
    fn rates_differ_as_in_the_paper() {
        for (one, other, expected) in [
            ((56, 70), (48, 80), (0.2, 0.0524, 0.3339)),
            ((9, 10), (3, 10), (0.6, 0.1705, 0.8090)),
            ((6, 7), (2, 7), (0.5714, 0.0582, 0.8062)),
            ((5, 56), (0, 29), (0.0893, -0.0381, 0.1926)),
            ((0, 10), (0, 10), (0.0, -0.2775, 0.2775)),
        ] {
            let found = difference_of_rates(one, other).expect("customers");
            close(found, expected);
        }
        assert_eq!(difference_of_rates((0, 0), (1, 2)), None);
        assert_eq!(difference_of_rates((1, 2), (0, 0)), None);
    }

    #[test]
    fn means_differ_with_their_spread() {
        // 1, 2, 3, 4 and 0, 1, 2, 3: variance 5/3 each.
        let one = Means { customers: 4.0, sum: 10.0, squares: 30.0 };
        let other = Means { customers: 4.0, sum: 6.0, squares: 14.0 };
        let half = Z * (5.0_f64 / 3.0 / 4.0 * 2.0).sqrt();
        close(difference_of_means(one, other).expect("customers"), (1.0, 1.0 - half, 1.0 + half));
        let alone = Means { customers: 1.0, sum: 1.0, squares: 1.0 };
        assert_eq!(difference_of_means(alone, other), None);
    }
}
