//! Who noticed a fault, and when: by what those who are to notice it write down.

use crate::world::World;
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use serde_json::Value;
use std::time::Duration;

/// Somebody noticed it so long after it began.
#[derive(Debug)]
pub struct Notice {
    pub who: String,
    pub after: Duration,
}

/// When a fault begins, on the clock of all logs here.
pub struct Since(Timestamp);

impl Since {
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// How long after it that was, in milliseconds since 1970; `None`: before.
    pub fn until(&self, at: i64) -> Option<Duration> {
        let after = u64::try_from(at - self.0.as_millisecond()).ok()?;
        Some(Duration::from_millis(after))
    }

    /// The first line of a log of JSON from then on that names the pod, as `says` puts it.
    fn first(
        &self,
        log: &str,
        pod: &str,
        says: impl Fn(&Value) -> Option<String>,
    ) -> Option<Notice> {
        log.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let at: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
            let after = self.until(at.as_millisecond())?;
            let who = says(&line).filter(|_| is_about(&line, pod))?;
            Some(Notice { who, after })
        })
    }

    /// The operator: when it decided anything because of that pod.
    pub fn by_operator(&self, world: &World, pod: &str) -> Option<Notice> {
        let path = std::env::temp_dir().join(format!("mafalda-{}.log", world.namespace));
        let log = std::fs::read_to_string(path).unwrap();
        self.first(&log, pod, |line| {
            Some(format!("operator ({})", line["reason"].as_str()?))
        })
    }

    /// The home pod: when it said anything of that pod, which lent to it.
    pub async fn by_home(&self, world: &World, home: &str, pod: &str) -> Option<Notice> {
        let log = world.pods.logs(home, &LogParams::default()).await.unwrap();
        self.first(&log, pod, |line| {
            let is_warning = line["level"] == "WARN";
            let said = line["message"].as_str()?;
            (is_warning || said == "gave its workers back").then(|| format!("home ({said})"))
        })
    }
}

/// Whether a line of a log has the pod's name in it.
fn is_about(line: &Value, pod: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let has = |text: &str| text.split(|c| !is_part(c)).any(|word| word == pod);
    let fields = line.as_object().into_iter().flat_map(|line| line.values());
    fields.filter_map(Value::as_str).any(has)
}

/// All of them, the first of them first, as cells of a table.
pub fn cells(mut notices: Vec<Notice>) -> (String, String) {
    notices.sort_by_key(|notice| notice.after);
    let who: Vec<_> = notices.iter().map(|notice| notice.who.as_str()).collect();
    let after = notices.iter().map(|notice| seconds(notice.after));
    (who.join(", "), after.collect::<Vec<_>>().join(", "))
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f32())
}
