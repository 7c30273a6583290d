//! What is on the members, and whether it is needed there.

use crate::model::{Model, Thing};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

fn ours(id: &str) -> bool {
    id.starts_with("mafalda/")
}

/// Each copy has a use, and nothing of ours is without a copy.
pub fn assert_nothing_useless(world: &World) {
    for member in &world.members {
        let model = &member.model;
        let mut used = BTreeSet::new();
        for (id, thing) in &model.things {
            match thing {
                Thing::Producer { transport, .. } if ours(transport) => {
                    let uses = model.things.values().any(|t| match t {
                        Thing::Consumer { producer, .. } => producer == id,
                        Thing::Observer { producers, .. } => producers.contains(id),
                        _ => false,
                    });
                    assert!(uses, "the copy {id} has no use");
                    used.insert(transport);
                }
                Thing::Consumer { transport, .. } if ours(id) => {
                    used.insert(transport);
                }
                _ => {}
            }
        }
        for (id, thing) in &model.things {
            let transport = matches!(thing, Thing::Transport { .. });
            let useless = transport && ours(id) && !used.contains(id);
            assert!(!useless, "{id} has no use");
        }
        let empty = |router: &String| {
            !model.things.values().any(|t| match t {
                Thing::Transport { router: of, .. } | Thing::Observer { router: of, .. } => {
                    of == router
                }
                _ => false,
            })
        };
        assert!(!model.routers.iter().any(empty), "an empty router");
    }
    assert_pipes_are_needed(world);
}

/// A producer is piped to a member if that has a use for it, or passes it on; and once.
fn assert_pipes_are_needed(world: &World) {
    let mut pipes = 0;
    let mut copies = 0;
    for Model { things, .. } in world.members.iter().map(|member| &member.model) {
        for (id, thing) in things {
            match thing {
                Thing::Consumer { .. } if ours(id) => pipes += 1,
                // A direct data producer is repeated, not piped.
                Thing::Producer { transport, .. } if ours(transport) => {
                    copies += usize::from(is_piped(things, transport));
                }
                _ => {}
            }
        }
    }
    assert_eq!(pipes, copies);
}

fn is_piped(things: &BTreeMap<String, Thing>, transport: &str) -> bool {
    matches!(
        things.get(transport),
        Some(Thing::Transport { pipe: true, .. })
    )
}

/// Ids that an application has on its members: those of things, without routers and servers.
pub fn things_on_members(world: &World) -> BTreeSet<String> {
    let models = world.members.iter().map(|member| &member.model);
    let ids = models.flat_map(|model| model.things.keys());
    ids.filter(|id| !ours(id)).cloned().collect()
}

/// The ids that a tenant owns.
pub fn owned_by(world: &World, tenant: usize) -> BTreeSet<String> {
    let owners = world.owners.iter();
    let own = owners.filter(|(_, owner)| **owner == tenant);
    own.map(|(id, _)| id.clone()).collect()
}

/// All ids that a worker knows.
pub fn ids_of(model: &Model) -> BTreeSet<String> {
    model.ids().cloned().collect()
}
