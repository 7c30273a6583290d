//! The definitions in `crds/`, which people apply, are those of the code.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use mafalda_operator::crd;
use std::collections::BTreeMap;
use std::path::Path;

fn files(folder: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Protects those who apply `crds/`: a change of the types comes with its files.
#[test]
fn checked_in_definitions_are_fresh() {
    let made = tempfile::tempdir().unwrap();
    crd::write(made.path()).unwrap();
    let checked_in = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../crds");
    assert!(
        files(made.path()) == files(&checked_in),
        "crds/ is stale: run `cargo run --release -p mafalda-operator -- crds --out crds`, and for the \
         chart `cp crds/*.yaml helm/mafalda/crds/`"
    );
}

/// Protects readers of `kubectl explain`: each field says what it is, in sentences.
#[test]
fn each_field_is_described() {
    for crd in crd::all() {
        let version = &crd.spec.versions[0];
        let schema = version.schema.as_ref().unwrap();
        let root = schema.open_api_v3_schema.as_ref().unwrap();
        let mut without = Vec::new();
        undescribed(root, &crd.spec.names.kind, &mut without);
        assert!(without.is_empty(), "without a description: {without:?}");
        for column in version.additional_printer_columns.iter().flatten() {
            assert!(
                column.description.is_some() || column.name == "Age",
                "{}",
                column.name
            );
        }
    }
}

fn undescribed(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let text = property.description.as_deref().unwrap_or_default();
        if !text.contains(' ') {
            found.push(path.clone());
        }
        undescribed(property, &path, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        undescribed(items, &format!("{path}[]"), found);
    }
}

/// Protects defaults from drifting: a field that is left out is, in Rust, what the schema says.
#[test]
fn defaults_are_the_schemas() {
    let cluster: crd::MafaldaClusterSpec = serde_json::from_str("{}").unwrap();
    assert_eq!(cluster, crd::MafaldaClusterSpec::default());
    let session: crd::SessionSpec =
        serde_json::from_str(r#"{"clusterRef": {"name": "mafalda"}}"#).unwrap();
    for (crd, spec) in crd::all().iter().zip([
        serde_json::to_value(cluster).unwrap(),
        serde_json::to_value(session).unwrap(),
    ]) {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap();
        let root = schema.open_api_v3_schema.as_ref().unwrap();
        let properties = root.properties.as_ref().unwrap()["spec"]
            .properties
            .as_ref();
        for (name, property) in properties.unwrap() {
            if let Some(default) = &property.default {
                assert_eq!(spec[name], default.0, "spec.{name}");
            }
        }
    }
}
