//! From `helm install` to a picture: the chart, and the example's Session and application as they are,
//! with browsers outside the nodes.

use crate::world::{World, on_cluster, until};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mafalda_e2e::Cluster;
use mafalda_operator::pod_api::{Access, Client as Pods};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What everybody goes through from `helm install` to the first media pod.
const READY: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A program that tests/cluster/build made.
fn program(name: &str) -> PathBuf {
    let folder = run(Command::new(root().join("tests/cluster/build")).arg("path"));
    Path::new(folder.trim()).join("bin").join(name)
}

/// Makes the images of the operator and of the conference, and brings them to the nodes.
fn load_images(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let built = std::env::var_os("MAFALDA_PROGRAMS").map_or_else(
        || test.ancestors().nth(2).unwrap().to_owned(),
        PathBuf::from,
    );
    for script in ["scripts/images", "examples/kubernetes/image"] {
        let mut command = Command::new(root().join(script));
        run(command.arg(&built).env("CARGO_TARGET_DIR", folder.path()));
    }
    for name in ["mafalda-operator", "mafalda-conference"] {
        let archive = folder.path().join(format!("images/{name}.tar"));
        let archive = archive.display().to_string();
        cluster.script(&["load-image", &archive]).unwrap();
    }
}

/// The user's hands: kubectl and helm in the test's namespace.
struct Hands<'a>(&'a World);

impl Hands<'_> {
    fn kubectl(&self, arguments: &[&str]) -> String {
        let verb = ["--namespace", &self.0.namespace];
        self.0
            .cluster
            .kubectl(&[&verb, arguments].concat())
            .unwrap()
    }

    fn helm(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("helm"));
        command.env("KUBECONFIG", self.0.cluster.kubeconfig());
        command.args(["--namespace", &self.0.namespace]);
        run(command.args(arguments))
    }

    fn apply(&self, file: &str) {
        let file = root().join("examples/kubernetes").join(file);
        self.kubectl(&["apply", "-f", &file.display().to_string()]);
    }

    /// What `kubectl get` prints of one thing, by the name of the column.
    fn row(&self, what: &str) -> HashMap<String, String> {
        let table = self.kubectl(&["get", what]);
        let (head, row) = table.trim_end().split_once('\n').unwrap();
        // A column begins where its name does; one may be empty.
        let names = head
            .split_whitespace()
            .map(|name| (name, head.find(name).unwrap()));
        let starts: Vec<(&str, usize)> = names.collect();
        let ends = starts
            .iter()
            .skip(1)
            .map(|(_, start)| *start)
            .chain([row.len()]);
        let cell = |((name, start), end): (&(&str, usize), usize)| {
            let text = row.get(*start..end.min(row.len())).unwrap_or_default();
            ((*name).to_owned(), text.trim().to_owned())
        };
        starts.iter().zip(ends).map(cell).collect()
    }
}

/// `kubectl port-forward` to the conference: browsers give a camera to localhost.
struct Forward {
    process: Child,
    /// It has more to say, and ends when nobody listens.
    _said: BufReader<ChildStdout>,
    url: String,
}

impl Forward {
    fn start(world: &World) -> Self {
        let mut process = Command::new(program("kubectl"))
            .env("KUBECONFIG", world.cluster.kubeconfig())
            .args(["--namespace", &world.namespace])
            .args(["port-forward", "service/conference", ":3000"])
            .stdout(Stdio::piped())
            // It complains of each browser that closes its connection.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("127.0.0.1:"));
        let url = format!("http://{}", address.expect(&line));
        Self {
            process,
            _said: said,
            url,
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `tests/cluster/media/picture.mjs` saw.
#[derive(Debug, Deserialize)]
struct Seen {
    ada: Got,
    grace: Got,
    ways: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Got {
    frames_decoded: u32,
}

/// Two people join in browsers, and see and hear each other.
fn look(world: &World) -> Seen {
    let forward = Forward::start(world);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("media/picture.mjs");
    let seen = run(Command::new("node").arg(program).arg(&forward.url));
    let seen: Seen = serde_json::from_str(&seen).unwrap();
    assert!(seen.ada.frames_decoded >= 10 && seen.grace.frames_decoded >= 10);
    seen
}

/// How many workers of applications the session's home has.
async fn connections(world: &World) -> usize {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let text = async |name: &str, key: &str| {
        let data = secrets.get(name).await.unwrap().data.unwrap();
        String::from_utf8(data[key].0.clone()).unwrap()
    };
    let key = text("mafalda-token-key", "private.pem").await;
    let authority = text("mafalda-ca", "ca.crt").await;
    let pods = Pods::new(Arc::new(Access::new("mafalda", &key, &authority).unwrap()));
    let home = world.status("stage").await.home_pod.unwrap();
    let ip = world.pods.get(&home).await.unwrap().status.unwrap().pod_ip;
    let report = pods.status(ip.unwrap().parse().unwrap()).await.unwrap();
    let stage = report
        .sessions
        .iter()
        .find(|session| session.name == "stage");
    stage.map_or(0, |stage| stage.connections as usize)
}

/// The address of the node of the session's home, and the media port there.
async fn way(world: &World) -> String {
    let home = world.status("stage").await.home_pod.unwrap();
    let pod = world.pods.get(&home).await.unwrap();
    let host = pod.status.unwrap().host_ip.unwrap();
    let port = &pod.metadata.annotations.unwrap()["mafalda.dev/rtc-port"];
    format!("udp {host}:{port}")
}

/// Protects what the README promises of a cluster, with a browser's eyes: the chart, a Session, an
/// application as it is, pictures through the nodes' ports; and when the session moves, pictures
/// again without anybody's help.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn people_see_each_other_through_the_nodes_ports() {
    // No pods: the chart brings a MafaldaCluster of its own.
    let none = json!({"pool": {"min": 0, "max": 1, "spare": 0}});
    on_cluster("pictures", none, async |world| {
        load_images(world.cluster);
        let user = Hands(world);
        let chart = root().join("helm/mafalda").display().to_string();
        let internal = "cluster.spec.announcedAddress.source=NodeInternalIP";
        let begun = Instant::now();
        user.helm(&["install", "mafalda", &chart, "--set", internal, "--wait"]);
        user.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "mafaldacluster/mafalda",
            "--timeout=60s",
        ]);
        let installed = begun.elapsed();
        user.apply("session.yaml");
        user.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "session/stage",
            "--timeout=60s",
        ]);
        let active = begun.elapsed();
        user.apply("application.yaml");
        user.kubectl(&[
            "rollout",
            "status",
            "deployment/conference",
            "--timeout=60s",
        ]);
        println!(
            "helm install until ready: {installed:.1?}; Session: {:.1?} more; application: {:.1?} more",
            active - installed,
            begun.elapsed() - active
        );
        assert!(installed < READY, "{installed:?}");

        let begun = Instant::now();
        let seen = look(world);
        println!("two browsers after {:.1?}: {seen:?}", begun.elapsed());
        assert_eq!(seen.ways, [way(world).await]);

        until("kubectl shows the truth", async || {
            let (pool, session) = (
                user.row("mafaldacluster/mafalda"),
                user.row("session/stage"),
            );
            let status = world.status("stage").await;
            pool["READY"] == "True"
                && pool["SESSIONS"] == "1"
                && pool["SERVING"]
                    == world
                        .clusters
                        .get("mafalda")
                        .await
                        .unwrap()
                        .status
                        .unwrap()
                        .ready
                        .to_string()
                && session["PHASE"] == "Active"
                && Some(&session["HOME"]) == status.home_pod.as_ref()
        })
        .await;
        println!("{}", user.kubectl(&["get", "mafaldacluster,session"]));

        let home = world.status("stage").await.home_pod.unwrap();
        let begun = Instant::now();
        user.kubectl(&["delete", "pod", &home, "--grace-period=0", "--force"]);
        world.active("stage", 2).await;
        let active = begun.elapsed();
        until("the application is there", async || {
            connections(world).await == 1
        })
        .await;
        println!(
            "{home} is gone: Active {active:.1?} later, the application there after {:.1?}",
            begun.elapsed()
        );
        let seen = look(world);
        assert_eq!(seen.ways, [way(world).await]);
        let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        let label = "app.kubernetes.io/name=conference";
        assert_eq!(
            user.kubectl(&["get", "pods", "-l", label, "-o", restarts]),
            "0"
        );

        user.kubectl(&["delete", "deployment/conference", "session/stage"]);
        user.helm(&["uninstall", "mafalda", "--wait"]);
    });
}
