//! Counts the steps of a render and asks now and then whether its time is up.

/// Steps between two looks at the clock.
const STEPS_PER_CHECK: u64 = 256;
/// Bytes of text made on the way that cost one step.
const BYTES_PER_STEP: usize = 16;

pub(crate) struct Budget<'a> {
    steps_left: u64,
    next_check: u64,
    expired: Option<&'a dyn Fn() -> bool>,
    /// Of the result, and of any text made on the way.
    pub max_text_bytes: usize,
}

/// A limit was reached.
pub(crate) type Exhausted = &'static str;

const OUT_OF_STEPS: Exhausted = "the template ran out of steps";
const OUT_OF_TIME: Exhausted = "the template ran out of time";
pub(crate) const TOO_LONG: Exhausted = "the text grew past its size limit";

impl<'a> Budget<'a> {
    pub fn new(steps: u64, max_text_bytes: usize, expired: Option<&'a dyn Fn() -> bool>) -> Self {
        let next_check = steps.saturating_sub(STEPS_PER_CHECK);
        Budget { steps_left: steps, next_check, expired, max_text_bytes }
    }

    pub fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        if steps > self.steps_left {
            return Err(OUT_OF_STEPS);
        }
        self.steps_left -= steps;
        if self.steps_left <= self.next_check {
            self.next_check = self.steps_left.saturating_sub(STEPS_PER_CHECK);
            if self.expired.is_some_and(|expired| expired()) {
                return Err(OUT_OF_TIME);
            }
        }
        Ok(())
    }

    pub fn spend_items(&mut self, items: usize) -> Result<(), Exhausted> {
        self.spend(u64::try_from(items).unwrap_or(u64::MAX))
    }

    /// Pays for `bytes` of text, refusing texts past the limit.
    pub fn spend_text(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > self.max_text_bytes {
            return Err(TOO_LONG);
        }
        self.spend_items(bytes / BYTES_PER_STEP)
    }
}
