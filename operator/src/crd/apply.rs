//! The definitions on a cluster: applied, and waited for.

use super::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Who wrote the definitions' fields, in server-side apply: not who runs the operator.
const MANAGER: &str = "mafalda-crds";
/// How long the API server may take to serve a definition that it has taken.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Why a definition is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server said no, or nothing.
    #[error(
        "custom resource definition {name}: {error}{}",
        if is_forbidden(error) { ": this takes the verbs get and patch, and create where it is not there yet" } else { "" }
    )]
    Api {
        /// The definition's.
        name: String,
        /// What the API server said.
        error: Box<kube::Error>,
    },
    /// The API server has it and does not serve it.
    #[error("custom resource definition {name} is not served after {} s: {why}", PATIENCE.as_secs())]
    NotServed {
        /// The definition's.
        name: String,
        /// What its conditions say.
        why: String,
    },
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

/// What applying a definition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    Created,
    /// There was another.
    Updated,
    /// It was there already.
    Unchanged,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Makes the definitions of a cluster those of this program, whoever wrote them before, and waits
/// until the API server serves them. Returns the name of each and what was done. Doing it again
/// changes nothing.
///
/// # Errors
/// When the API server refuses one, or takes it and does not serve it within half a minute.
pub async fn apply(client: &Client) -> Result<Vec<(String, Change)>, ApplyError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut changes = Vec::new();
    for definition in all() {
        let name = definition.name_any();
        let change = apply_one(&definitions, &definition)
            .await
            .map_err(|error| ApplyError::Api {
                name: name.clone(),
                error: Box::new(error),
            })?;
        changes.push((name, change));
    }
    for (name, _) in &changes {
        wait_until_served(&definitions, name).await?;
    }
    Ok(changes)
}

async fn apply_one(
    definitions: &Api<CustomResourceDefinition>,
    definition: &CustomResourceDefinition,
) -> kube::Result<Change> {
    let name = definition.name_any();
    let before = definitions.get_opt(&name).await?;
    let parameters = PatchParams::apply(MANAGER).force();
    let after = definitions
        .patch(&name, &parameters, &Patch::Apply(definition))
        .await?;
    // The generation counts changes of the spec alone.
    Ok(match before {
        None => Change::Created,
        Some(before) if before.metadata.generation != after.metadata.generation => Change::Updated,
        Some(_) => Change::Unchanged,
    })
}

async fn wait_until_served(
    definitions: &Api<CustomResourceDefinition>,
    name: &str,
) -> Result<(), ApplyError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = definitions.get(name).await;
        let found = found.map_err(|error| ApplyError::Api {
            name: name.to_owned(),
            error: Box::new(error),
        })?;
        let conditions = found.status.and_then(|status| status.conditions);
        let conditions = conditions.unwrap_or_default();
        if conditions
            .iter()
            .any(|says| says.type_ == "Established" && says.status == "True")
        {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(ApplyError::NotServed {
                name: name.to_owned(),
                why: what_is_wrong(&conditions),
            });
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn what_is_wrong(conditions: &[CustomResourceDefinitionCondition]) -> String {
    let wrong = conditions.iter().filter(|says| says.status != "True");
    let messages: Vec<_> = wrong
        .filter_map(|says| says.message.as_deref())
        .filter(|message| !message.is_empty())
        .collect();
    if messages.is_empty() {
        "it has no conditions yet".to_owned()
    } else {
        messages.join("; ")
    }
}
