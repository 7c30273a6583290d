//! Wrong manifests: each is refused, and the sentence names the field.

mod manifests;

use crate::{api_of, cluster, on_cluster};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use mafalda_operator::crd;
use serde_json::json;

/// Protects whoever writes a manifest: what is wrong is refused at once, with the field's name, and
/// no rule of the schema is without a manifest here that breaks it.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn wrong_manifests_are_refused_with_their_field() {
    let refusals = on_cluster(async |client| {
        let mut refusals = Vec::new();
        for (field, manifest) in [manifests::clusters(), manifests::sessions()].concat() {
            let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
            let dry_run = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let said = match api_of(&client, &manifest).create(&dry_run, &object).await {
                Err(kube::Error::Api(refusal)) => refusal.message,
                other => panic!("{field}: {manifest} is not refused: {other:?}"),
            };
            println!("{said}");
            assert!(said.contains(field), "{field} is not in: {said}");
            refusals.push(said);
        }
        refusals
    });
    assert!(refusals.len() >= 30);

    let mut unbroken = Vec::new();
    for crd in crd::all() {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap();
        let root = schema.open_api_v3_schema.as_ref().unwrap();
        rules(root, "", &mut |path, phrase| {
            let breaks = |said: &String| said.contains(path) && said.contains(phrase);
            if !refusals.iter().any(breaks) {
                unbroken.push(format!("{path}: {phrase}"));
            }
        });
    }
    assert!(unbroken.is_empty(), "no manifest here breaks {unbroken:#?}");
}

/// Kubernetes' own types, whose rules are Kubernetes'; and what people do not write.
const NOT_OURS: [&str; 4] = [
    "spec.podTemplate.affinity",
    "spec.podTemplate.tolerations[0]",
    "spec.podTemplate.resources.claims",
    "status",
];

/// Calls `found` for each rule of a schema, with the field and what the API server says of it. Of
/// a list the first item is meant.
fn rules(schema: &JSONSchemaProps, path: &str, found: &mut impl FnMut(&str, &str)) {
    if NOT_OURS.contains(&path) {
        return;
    }
    // The message names a value's key too.
    let named = path.trim_end_matches(".*");
    for (there, phrase) in [
        (schema.minimum.is_some(), "greater than or equal to"),
        (schema.maximum.is_some(), "less than or equal to"),
        (schema.pattern.is_some(), "should match"),
        (schema.max_length.is_some(), "Too long"),
        (schema.min_items.is_some(), "should have at least"),
        (schema.max_items.is_some(), "Too many"),
        (schema.max_properties.is_some(), "Too many"),
        (schema.enum_.is_some(), "Unsupported value"),
    ] {
        if there {
            found(named, phrase);
        }
    }
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        // Changes are refused elsewhere: see the module `changes`.
        if !rule.rule.contains("oldSelf") {
            found(named, rule.message.as_deref().unwrap());
        }
    }
    for name in schema.required.iter().flatten() {
        found(&join(path, name), "Required value");
    }
    for (name, property) in schema.properties.iter().flatten() {
        rules(property, &join(path, name), found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        rules(items, &format!("{path}[0]"), found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        rules(values, &format!("{path}.*"), found);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Protects whoever misspells a field: it is not silently ignored when strict validation is asked
/// for, as kubectl does.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_unknown_field_is_named() {
    on_cluster(async |client| {
        let manifest = cluster("wrong", &json!({"pool": {"minimum": 1}}));
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let strict = PatchParams::apply("mafalda-e2e")
            .dry_run()
            .validation_strict();
        let refused = api_of(&client, &manifest)
            .patch("wrong", &strict, &Patch::Apply(&object))
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("spec.pool.minimum"),
            "{refused}"
        );
    });
}
