//! Numbers that look random and are the same each time.

/// A generator of xorshift64*.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// 0 to 1, without 1.
    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `from..to`.
    pub fn between(&mut self, from: u32, to: u32) -> u32 {
        from + (self.share() * f64::from(to - from)) as u32
    }

    /// The time to the next of things that come by chance, `mean` apart.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    /// Participants of a session: most are few.
    pub fn participants(&mut self) -> u32 {
        match self.share() {
            kind if kind < 0.77 => self.between(2, 7),
            kind if kind < 0.97 => self.between(7, 16),
            _ => self.between(16, 41),
        }
    }
}

/// The value that so large a share of `values` does not exceed. 0 if there are none.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values
        .get((last * share).round() as usize)
        .copied()
        .unwrap_or(0.0)
}
