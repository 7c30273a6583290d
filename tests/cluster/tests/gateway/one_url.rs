//! Unmodified applications with the gateway's URL, and what goes wrong around them.

use crate::ask::Asker;
use crate::files::root;
use crate::place::{GATEWAYS, NAMESPACE, Place, install, until};
use crate::release::Release;
use crate::rights;
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use mafalda_e2e::{Access, Calls, Event};
use mafalda_token::Role;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often a second the application asks its worker something.
const ASKS: u32 = 20;
/// An address that is for documentation.
const BALANCER: &str = "203.0.113.9";
/// When a session whose home pod is killed is Active elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(10);
/// When a new media pod is used, from Ready on.
const USED: Duration = Duration::from_secs(2);

/// Protects applications that know one URL: of who has no right to it, from the end of a gateway, which
/// costs no packet, and from the end of a media pod, after which the same URL leads to the session's next
/// home. A media pod that comes is used.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn one_url_leads_to_all_media_pods() {
    let release = Release::new(NAMESPACE);
    let begun = Instant::now();
    install(&release);
    println!("images, helm install, all ready: {:.1?}", begun.elapsed());
    let session = root().join("examples/kubernetes/session.yaml");
    release.kubectl(&["apply", "-f", &session.display().to_string()]);
    release.wait_ready("session/stage");
    let whole = async |client| {
        let place = Place::new(&release, client).await;
        holds_no_key(&place);
        each_may_what_it_has_to(&place).await;
        strangers_stay_outside(&place).await;
        let path = place.url("/v1/sessions/stage");
        let access = Access::to(&place.client, NAMESPACE, "stage").await;
        let calls = Calls::start_with(access.by(&path), "gateway-stage", &[2, 1, ASKS]);
        until("media flows", async || calls.flow()).await;
        replicas_end(&place, &calls).await;
        let anonymous = Access::with(
            &place.url(""),
            &place.token(Role::App, "*"),
            &place.authorities,
        );
        let others = Calls::start_with(anonymous, "gateway-anonymous", &[1]);
        until("media flows without a session", async || others.flow()).await;
        assert_eq!(calls.lost() + others.lost(), 0);
        the_home_ends(&place, &calls).await;
        a_pod_comes(&place).await;
        it_is_called_otherwise(&place).await;
        for calls in [calls, others] {
            let died = calls.count(Event::Died);
            let last = calls.stop().await;
            println!("{} packets of {}, {died} died", last.received, last.sent);
            assert_eq!(last.sent, last.received + last.lost);
        }
    };
    release.cluster.run(whole).unwrap();
    println!("the whole of it: {:.1?}", begun.elapsed());
}

/// Who takes the gateway over has nothing that lets him in anywhere as somebody else.
fn holds_no_key(place: &Place<'_>) {
    let deployment = place.release.get(&["deployment", "mafalda-gateway"]);
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    let volumes = volumes.as_array().unwrap();
    let mounted: Vec<_> = volumes
        .iter()
        .filter_map(|volume| volume["secret"]["secretName"].as_str())
        .collect();
    assert_eq!(mounted, ["mafalda-gateway"]);
    let secret = place.release.get(&["secret", "mafalda-gateway"]);
    let keys: BTreeSet<_> = secret["data"].as_object().unwrap().keys().collect();
    let wanted = ["ca.crt", "public.pem", "tls.crt", "tls.key", "token"];
    assert!(keys.into_iter().eq(wanted.iter()), "{secret}");
    let account = format!("system:serviceaccount:{NAMESPACE}:mafalda-gateway");
    let may = |verb: &str, what: &str| {
        // It says no by its status too.
        let asked = [
            "auth", "can-i", verb, what, "--as", &account, "-n", NAMESPACE,
        ];
        place.release.cluster.kubectl(&asked).is_ok()
    };
    assert!(may("watch", "pods") && may("watch", "sessions.mafalda.dev"));
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("patch", "sessions.mafalda.dev"),
        ("list", "services"),
    ] {
        assert!(!may(verb, what), "{verb} {what}");
    }
}

/// The operator may do what it does and nothing else; a media pod nothing at all, and is not even somebody.
async fn each_may_what_it_has_to(place: &Place<'_>) {
    for (verb, what) in rights::OPERATOR_MAY {
        let may = rights::may(place, "mafalda-operator", verb, what).await;
        assert!(may, "the operator has to {verb} {what}");
    }
    for (verb, what) in rights::OPERATOR_MAY_NOT {
        let may = rights::may(place, "mafalda-operator", verb, what).await;
        assert!(!may, "the operator may {verb} {what}");
    }
    let media = ListParams::default().labels("app.kubernetes.io/component=media-pod");
    for pod in place.pods.list(&media).await.unwrap() {
        let name = pod.name_any();
        let spec = pod.spec.unwrap();
        let mounts = spec
            .containers
            .iter()
            .flat_map(|one| one.volume_mounts.iter().flatten());
        let paths: Vec<_> = mounts.map(|mount| mount.mount_path.as_str()).collect();
        assert!(
            paths
                .iter()
                .all(|path| !path.starts_with("/var/run/secrets")),
            "{name}: {paths:?}"
        );
        // As the program sees it.
        let process = place.process_of(&name, "serve").await;
        let there = format!("/proc/{process}/root/var/run/secrets/kubernetes.io");
        assert!(!std::path::Path::new(&there).exists(), "{name} has a token");
        let account = spec.service_account_name.unwrap();
        for (verb, what) in [rights::OPERATOR_MAY, rights::OPERATOR_MAY_NOT].concat() {
            let may = rights::may(place, &account, verb, what).await;
            assert!(!may, "{name}, as {account}, may {verb} {what}");
        }
    }
}

async fn strangers_stay_outside(place: &Place<'_>) {
    let of_other = place.token(Role::App, "other");
    let of_stage = place.token(Role::App, "stage");
    let reads = place.token(Role::Monitor, "*");
    let operator = place.token(Role::Operator, "*");
    let stage = "/v1/sessions/stage/worker";
    for (method, path, token, wanted) in [
        (Method::GET, stage, None, (401, "unauthorized")),
        (Method::GET, stage, Some("none"), (401, "unauthorized")),
        (Method::GET, stage, Some(&*of_other), (403, "forbidden")),
        (Method::GET, "/v1/worker", None, (401, "unauthorized")),
        (
            Method::GET,
            "/v1/worker",
            Some(&of_stage),
            (403, "forbidden"),
        ),
        (Method::GET, "/v1/worker", Some(&reads), (403, "forbidden")),
        (Method::GET, "/v1/status", None, (401, "unauthorized")),
        (
            Method::PUT,
            "/v1/sessions/new",
            Some(&operator),
            (409, "keptByKubernetes"),
        ),
    ] {
        let what = (method.clone(), path);
        let answer = place.asker().ask(place.address, what, token).await.unwrap();
        assert_eq!(answer.refusal(), wanted, "{method} {path} {token:?}");
    }
}

/// Each replica that passes the application's connection on ends, in one way and the other.
async fn replicas_end(place: &Place<'_>, calls: &Calls) {
    for way in ["kill -9", "delete --grace-period=0"] {
        let replica = place.carrier().await;
        let from = calls.lines().len();
        let begun = Instant::now();
        match way {
            "kill -9" => place.kill(&replica, "cluster").await,
            _ => place.delete_now(&replica).await,
        }
        // A replica that was begun anew has passed on nothing yet.
        let resumed = until("the connection is resumed", async || {
            let replicas = place.replicas().await;
            replicas.values().sum::<u64>() == 1
        });
        let resumed = resumed.await;
        let lines = calls.lines().len();
        until("two more lines", async || calls.lines().len() > lines + 1).await;
        println!(
            "gateway {replica}, {way}: passed on again after {resumed:.1?}, an answer took {:.1?} at most, \
             {} packets lost",
            calls.longest_wait(from),
            calls.lost()
        );
        assert!(begun.elapsed() < ELSEWHERE, "{:?}", begun.elapsed());
        assert_eq!(calls.lost(), 0, "{way}");
        assert_eq!(calls.count(Event::Died), 0, "{way}");
    }
}

async fn the_home_ends(place: &Place<'_>, calls: &Calls) {
    let (home, generation) = place.home();
    let from = calls.lines().len();
    let begun = Instant::now();
    place.kill(&home, "serve").await;
    until("the application's worker died", async || {
        calls.count(Event::Died) == 1
    })
    .await;
    let died = begun.elapsed();
    until("media flows again", async || {
        calls.count(Event::Recovered) == 1
    })
    .await;
    let recovered = begun.elapsed();
    println!(
        "home pod {home}, kill -9: died after {died:.1?}, media again after {recovered:.1?}, {} tries \
         failed, the longest gap {:.1?}",
        calls.count(Event::Failed),
        calls.longest_gap(from)
    );
    let (new, next) = place.home();
    println!("the session is in generation {next} on {new}");
    assert!(next > generation, "{next}");
    assert!(recovered < ELSEWHERE, "{recovered:?}");
}

/// Whether a pod is ready, which no gateway has anything to do with.
fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        let mut ready = conditions.iter().filter(|c| c.type_ == "Ready");
        ready.any(|condition| condition.status == "True")
    })
}

async fn a_pod_comes(place: &Place<'_>) {
    let media = ListParams::default().labels("app.kubernetes.io/component=media-pod");
    let ready = async || {
        let pods = place.pods.list(&media).await.unwrap();
        let pods = pods.iter().filter(|pod| is_ready(pod));
        pods.map(ResourceExt::name_any).collect::<BTreeSet<_>>()
    };
    let before = ready().await;
    let chart = crate::helm::chart();
    let more = format!("cluster.spec.pool.min={}", before.len() + 1);
    let more = format!("{more},gateway.service.type=LoadBalancer");
    let upgrade = [
        "upgrade",
        "mafalda",
        &chart,
        "--reuse-values",
        "--set",
        &more,
    ];
    place.release.helm(&upgrade);
    let mut new = None;
    until("another pod is ready", async || {
        new = ready().await.difference(&before).next().cloned();
        new.is_some()
    })
    .await;
    let begun = Instant::now();
    let token = place.token(Role::App, "*");
    // Applications come, one after the other.
    let mut taken = Vec::new();
    until("the new pod is used", async || {
        let what = (Method::GET, "/v1/worker");
        let asker = place.asker();
        let asked = asker.ask(place.address, what, Some(&token)).await;
        let answer = asked.unwrap();
        assert_eq!(answer.status, 101, "{answer:?}");
        let here = answer.pod == new;
        taken.push(answer);
        here
    })
    .await;
    let took = begun.elapsed();
    println!(
        "a new media pod has its first worker {took:.1?} after it was seen Ready, of {} that came",
        taken.len()
    );
    assert!(took < USED, "{took:?}");
}

/// A gateway that gets an address shows a certificate with that address, and goes on.
async fn it_is_called_otherwise(place: &Place<'_>) {
    let gateways = place.gateways().await;
    let restarts = || {
        let counts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].clone();
        let pods = place.release.get(&["pods", "-l", GATEWAYS])["items"].take();
        pods.as_array()
            .unwrap()
            .iter()
            .map(counts)
            .collect::<Vec<_>>()
    };
    let secret = || {
        let secret = place.release.get(&["secret", "mafalda-gateway"]);
        secret["data"]["tls.crt"].to_string()
    };
    let (before, old) = (restarts(), secret());
    let begun = Instant::now();
    let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}}}).to_string();
    let service = [
        "patch",
        "service",
        "mafalda-gateway",
        "--subresource=status",
    ];
    place
        .release
        .kubectl(&[&service[..], &["--type=merge", "-p", &balanced]].concat());
    until("the Secret is written anew", async || secret() != old).await;
    let written = begun.elapsed();
    // The kubelet looks at a pod that changes, and at others within a minute or so.
    place
        .release
        .kubectl(&["annotate", "pods", "-l", GATEWAYS, "looked-at=now"]);
    let asker = Asker {
        name: BALANCER,
        ..place.asker()
    };
    for at in gateways.values() {
        until("it shows the new certificate", async || {
            let asked = asker.ask(*at, (Method::GET, "/readyz"), None).await;
            asked.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
    println!(
        "another address: a certificate with it after {written:.1?}, shown by all after {:.1?}",
        begun.elapsed()
    );
    assert_eq!(place.gateways().await, gateways);
    assert_eq!(restarts(), before);
}
