//! What the operator would do: ask the pods, plan, carry it out.

use crate::report::Sample;
use crate::world::{CUT, Event, HOUR, JOIN, World};
use mafalda_plan::*;
use std::collections::HashMap;
use std::time::Instant;

impl World {
    /// Each pod that can says how it is.
    pub fn measure(&mut self, now: f64) {
        if CUT.contains(&now) {
            return;
        }
        let seen = self.observed.now;
        for pod in &mut self.observed.pods {
            if pod.ready_since.is_none() || self.dead.contains(&pod.name) {
                continue;
            }
            pod.last_seen = Some(seen);
            let load: f64 = pod
                .sessions
                .iter()
                .filter_map(|hosted| self.truth.get(&hosted.session))
                .map(|truth| truth.load * ((now - truth.since) / JOIN).min(1.0))
                .sum();
            let workers = pod.cpu.len() as f64;
            for cpu in &mut pod.cpu {
                let noise = 0.97 + 0.06 * self.numbers.share();
                *cpu = (load / workers * noise + 0.002).min(1.0);
            }
        }
    }

    pub fn plan(&mut self, now: f64) {
        if !self.over.is_empty() {
            let over = std::mem::take(&mut self.over);
            self.observed
                .sessions
                .retain(|session| !over.contains(&session.name));
        }
        let began = Instant::now();
        let actions = plan(&self.observed);
        self.day.planning.push(began.elapsed().as_secs_f64());
        self.observed.apply(&actions);
        let mut hosted = vec![];
        for action in &actions {
            self.carry_out(action, now, &mut hosted);
        }
        if hosted.is_empty() {
            return;
        }
        let index: HashMap<PodName, usize> = self
            .observed
            .pods
            .iter()
            .map(|pod| pod.name.clone())
            .zip(0..)
            .collect();
        for (pod, session) in hosted {
            self.observed.pods[index[&pod]].sessions.push(session);
        }
    }

    fn carry_out(&mut self, action: &Action, now: f64, hosted: &mut Vec<(PodName, Hosted)>) {
        match &action.step {
            Step::CreatePod { pod } => {
                self.day.created += 1;
                let start = 8.0 + 12.0 * self.numbers.share();
                self.at(now + start, Event::PodUp(pod.clone()));
            }
            Step::DeletePod { pod } => {
                self.day.deleted += 1;
                self.at(now + 3.0, Event::PodGone(pod.clone()));
            }
            Step::CancelDrain { .. } => self.day.cancelled += 1,
            Step::ExpireSession { session } => {
                self.over.insert(session.clone());
            }
            Step::PlaceSession {
                session,
                pod,
                generation,
            } => {
                if let Some(truth) = self.truth.get_mut(session) {
                    self.day.waits.push(now - truth.since);
                    // People join when there is something to join.
                    truth.since = now;
                }
                hosted.push((pod.clone(), runs(session, *generation)));
            }
            Step::MoveSession {
                session,
                to,
                generation,
                ..
            } => {
                *self.day.moves.entry(action.reason.name()).or_default() += 1;
                if let Some(truth) = self.truth.get_mut(session)
                    && let Some(cut) = truth.cut.take()
                {
                    self.day.recoveries.push(now - cut);
                }
                hosted.push((to.clone(), runs(session, *generation)));
            }
            Step::HoldSession { .. } => self.day.held += 1,
            Step::CordonPod { .. }
            | Step::DrainPod { .. }
            | Step::MarkSuspect { .. }
            | Step::ClearSuspect { .. }
            | Step::AdoptSession { .. }
            | Step::GrantPod { .. }
            | Step::ReturnPod { .. }
            | Step::FenceSession { .. } => {}
        }
    }

    pub fn sample(&mut self, now: f64) {
        let running = |pod: &&Pod| pod.is_running() && !self.dead.contains(&pod.name);
        let pods: Vec<&Pod> = self.observed.pods.iter().filter(running).collect();
        let loads = self.truth.values().map(|truth| truth.load);
        let load: f64 = loads.sum();
        let waiting = |session: &&Session| session.phase == SessionPhase::Pending;
        self.day.samples.push(Sample {
            hours: now / HOUR,
            pods: pods.len(),
            draining: pods.iter().filter(|pod| pod.drain.is_some()).count(),
            old: pods
                .iter()
                .filter(|pod| pod.revision.as_str() == "r1")
                .count(),
            ideal: (load / self.observed.cluster.pod_capacity().workers()).ceil() as usize,
            sessions: self.truth.len(),
            waiting: self.observed.sessions.iter().filter(waiting).count(),
        });
    }
}

fn runs(session: &SessionName, generation: Generation) -> Hosted {
    Hosted::new(session.clone(), generation)
}
