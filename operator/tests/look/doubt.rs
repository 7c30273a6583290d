//! Whose silence it is.

use crate::fixtures::Scene;
use mafalda_operator::cluster::doubt::Doubt;
use serde_json::json;

/// Protects calls from an operator that hears its pods again one after the other: with the first that is
/// back, the others are given their time once more.
#[test]
fn who_is_not_back_yet_is_not_dead() {
    let mut scene = Scene::simple();
    let pods = ["talk-0", "talk-1", "talk-2", "talk-3"];
    for pod in pods {
        scene.pod(pod, json!({}));
        scene.says(pod, 0, json!({}));
    }
    let mut doubt = Doubt::default();
    doubt.note(&scene.turn().0);
    assert!(!doubt.ends(&scene.observe()), "there is none");
    for pod in pods {
        scene.says(pod, 9, json!({}));
    }
    doubt.note(&scene.turn().0);
    assert!(!doubt.ends(&scene.observe()), "all are silent");
    scene.says("talk-0", 0, json!({}));
    assert!(doubt.ends(&scene.observe()), "one is back");
    assert!(!doubt.ends(&scene.observe()), "once");
}
