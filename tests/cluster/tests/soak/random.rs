//! Random numbers that a seed repeats (splitmix64).

use std::time::Duration;

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below that.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// One of them, if there is one.
    pub fn one<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        match all {
            [] => None,
            all => Some(&all[self.below(all.len())]),
        }
    }

    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = (to - from).as_millis() as usize;
        from + Duration::from_millis(self.below(span + 1) as u64)
    }

    /// Another row of numbers: how many of them are used does not count here.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// All of them in any order.
    pub fn shuffled<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let mut all = all.to_vec();
        for index in (1..all.len()).rev() {
            all.swap(index, self.below(index + 1));
        }
        all
    }
}
