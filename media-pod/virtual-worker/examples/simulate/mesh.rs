//! What others do: peers take turns on the workers, and each producer is piped to every worker as
//! soon as it is there, whether anybody consumes it there or not.

use crate::{Carried, Load, WORKERS};
use std::collections::BTreeSet;
use std::error::Error;

const PRODUCERS: usize = 2;

pub struct Mesh {
    /// The worker of the first peer.
    first: usize,
    senders: usize,
    here: BTreeSet<usize>,
}

impl Mesh {
    pub fn new(first: usize, senders: usize) -> Self {
        let here = BTreeSet::new();
        Self {
            first,
            senders,
            here,
        }
    }
}

impl Carried for Mesh {
    fn join(&mut self, peer: usize) -> Result<(), Box<dyn Error>> {
        self.here.insert(peer);
        Ok(())
    }

    fn leave(&mut self, peer: usize) -> Result<(), Box<dyn Error>> {
        self.here.remove(&peer);
        Ok(())
    }

    fn tick(&mut self, _: u64) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    fn loads(&self) -> [Load; WORKERS] {
        let mut loads = [Load::default(); WORKERS];
        let sending = self.here.range(..self.senders).count();
        if sending == 0 {
            return loads;
        }
        for load in &mut loads {
            // Each has a router that is connected with all others.
            load.ends = WORKERS - 1;
            load.producers = PRODUCERS * sending;
            load.copies = PRODUCERS * sending;
        }
        for peer in &self.here {
            let load = &mut loads[(self.first + peer) % WORKERS];
            let others = sending - usize::from(*peer < self.senders);
            load.consumers += PRODUCERS * others;
            if *peer < self.senders {
                load.consumers += PRODUCERS * (WORKERS - 1);
                load.copies -= PRODUCERS;
            }
        }
        loads
    }

    fn end(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}
