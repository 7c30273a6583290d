//! Parts of schemas that several fields share, and what the derived ones leave to do.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray as Items,
    JSONSchemaPropsOrBool as Values,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// The rule that a text is a name of an object, as most kinds of Kubernetes have it.
pub(super) const DNS_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// The rule that a text is the key of a label or annotation: a name of 63 characters at most,
/// perhaps with a DNS name and a slash before it.
pub(super) const LABEL_KEY: &str = "\
    self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')";

/// The rule that the keys of a map are such keys.
pub(super) const LABEL_KEYS: &str = "\
    self.all(key, size(key) <= 317 && \
    key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))";

/// A map of labels whose values are ones. Their number has a limit, as has the work of a rule.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
                "message": "the value of a label must be letters, digits, '-', '_' and '.', \
                    a letter or digit at both ends",
            }],
        },
    })
}

/// Lets the quantities of a ResourceRequirements be none but quantities: `4`, `1500m`, `2Gi`.
pub(super) fn quantities(resources: &mut Schema) {
    for list in ["limits", "requests"] {
        let pointer = format!("/properties/{list}/additionalProperties");
        if let Some(Value::Object(quantity)) = resources.pointer_mut(&pointer) {
            // Kubernetes' own takes a page.
            let description = "A quantity, as 4, 1500m or 2Gi.";
            quantity.insert("description".to_owned(), description.into());
            let pattern = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$";
            quantity.insert("pattern".to_owned(), pattern.into());
        }
    }
}

/// Makes a derived definition the one to apply.
///
/// - Formats are those that Kubernetes knows: it warns of `uint32` and ignores it.
/// - No field is nullable: the API server then takes an explicit `null` for an absent field, and
///   a rule that asks `has(…)` is not deceived by it.
/// - Descriptions have a line for each paragraph: `kubectl explain` breaks lines itself.
pub(super) fn tidy(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            tidy_schema(root);
        }
    }
    crd
}

fn tidy_schema(schema: &mut JSONSchemaProps) {
    schema.description = schema.description.take().map(|text| unwrap_lines(&text));
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema.format = match schema.format.take().as_deref() {
        Some("uint8" | "uint16" | "uint32") => Some("int32".to_owned()),
        Some("uint64") => Some("int64".to_owned()),
        other => other.map(str::to_owned),
    };
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        tidy_schema(property);
    }
    if let Some(Items::Schema(items)) = &mut schema.items {
        tidy_schema(items);
    }
    if let Some(Values::Schema(values)) = &mut schema.additional_properties {
        tidy_schema(values);
    }
}

/// Joins the lines of a paragraph. Indented lines and items of lists stay lines.
fn unwrap_lines(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines() {
        let goes_on =
            line.starts_with(|first: char| first.is_alphanumeric() || "`('\"".contains(first));
        if !joined.is_empty() {
            joined.push(if goes_on && !joined.ends_with('\n') {
                ' '
            } else {
                '\n'
            });
        }
        joined.push_str(line);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::unwrap_lines;

    /// Protects what `kubectl explain` shows: paragraphs and lists stay what they are.
    #[test]
    fn paragraphs_become_lines() {
        assert_eq!(
            unwrap_lines("one\ntwo\n\nthree\n`four`\n - five"),
            "one two\n\nthree `four`\n - five"
        );
    }
}
