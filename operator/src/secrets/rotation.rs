//! How a key is replaced while it is in use, in three steps: its successor is made known; it signs,
//! when all know it; the one before is forgotten, when what it signed has ended. Pure.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A new key's two halves, in PEM. The public one of an authority is its certificate.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub private: String,
    pub public: String,
}

/// The keys that are in use for one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Signs.
    pub private: String,
    /// All that is trusted: the first is `private`'s, the last is `next`'s when there is one.
    pub public: Vec<String>,
    /// Will sign.
    pub next: Option<String>,
}

/// How long each step lasts.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A key that signs alone, until its successor is made known.
    pub alone: Duration,
    /// A key that is known, until it signs.
    pub known: Duration,
    /// A key that signed, until it is forgotten.
    pub remembered: Duration,
}

/// Tokens' keys. Pods know a new one within minutes; what the one before signed for applications is
/// good for thirty days ([`crate::session::access::TOKEN_LIFE`]).
pub const TOKENS: Pace = Pace {
    alone: DAY.saturating_mul(300),
    known: Duration::from_secs(10 * 60),
    remembered: DAY.saturating_mul(30),
};

/// Authorities. An application reads which to trust when its worker starts.
pub const AUTHORITIES: Pace = Pace {
    alone: DAY.saturating_mul(3650 * 2 / 3),
    known: DAY.saturating_mul(30),
    remembered: DAY.saturating_mul(30),
};

impl Keys {
    /// A key that signs from now on.
    pub fn new(fresh: Fresh) -> Self {
        Self {
            private: fresh.private,
            public: vec![fresh.public],
            next: None,
        }
    }

    /// All that is trusted, one after the other.
    pub fn trusted(&self) -> String {
        self.public.concat()
    }

    /// The next step, and when the one after it is due. `fresh` makes a key where one is needed.
    ///
    /// # Errors
    /// As `fresh`.
    pub fn step<E>(
        mut self,
        pace: Pace,
        fresh: impl FnOnce() -> Result<Fresh, E>,
    ) -> Result<(Self, Duration), E> {
        let lasts = match self.next.take() {
            Some(next) => {
                self.private = next;
                self.public.rotate_right(1);
                pace.remembered
            }
            None if self.public.len() > 1 => {
                self.public.truncate(1);
                pace.alone
            }
            None => {
                let fresh = fresh()?;
                self.next = Some(fresh.private);
                self.public.push(fresh.public);
                pace.known
            }
        };
        Ok((self, lasts))
    }
}

/// The blocks of a text in PEM, each as it is.
pub fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in text.lines() {
        block.push_str(line);
        block.push('\n');
        if line.starts_with("-----END ") {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn fresh(name: &str) -> Fresh {
        Fresh {
            private: format!("private {name}"),
            public: format!("public {name}\n"),
        }
    }

    /// Protects those who hold what a key signed, and those who check it: nothing is signed that is
    /// not known yet, and nothing is forgotten before its time.
    #[test]
    fn a_key_is_known_before_it_signs_and_after() {
        let step = |keys: Keys, name: &str| {
            let made = || Ok::<_, Infallible>(fresh(name));
            keys.step(TOKENS, made).unwrap()
        };
        let one = Keys::new(fresh("1"));
        let (known, lasts) = step(one, "2");
        assert_eq!(lasts, TOKENS.known);
        assert_eq!(known.private, "private 1");
        assert_eq!(known.trusted(), "public 1\npublic 2\n");
        let (signs, lasts) = step(known, "3");
        assert_eq!(lasts, TOKENS.remembered);
        assert_eq!(signs.private, "private 2");
        assert_eq!(signs.trusted(), "public 2\npublic 1\n");
        let (alone, lasts) = step(signs, "4");
        assert_eq!(lasts, TOKENS.alone);
        assert_eq!(alone, Keys::new(fresh("2")));
    }

    #[test]
    fn tokens_outlive_no_key() {
        assert!(TOKENS.remembered >= crate::session::access::TOKEN_LIFE);
        assert!(AUTHORITIES.known >= crate::session::access::TOKEN_LIFE);
    }

    #[test]
    fn a_text_has_its_blocks() {
        let one = "-----BEGIN A-----\nx\n-----END A-----\n";
        let two = "-----BEGIN A-----\ny\n-----END A-----\n";
        assert_eq!(blocks(&format!("{one}\n{two}")).len(), 2);
        assert_eq!(blocks(&format!("{one}{two}")), [one, two]);
        assert!(blocks("").is_empty());
    }
}
