//! Whatever applications do, and however their members dawdle: what each sees is what one ideal
//! worker shows, and nothing is left behind.

mod death;
mod equal;
mod held;
mod model;
mod pipes;
mod pods;
mod program;
mod requests;
mod seen;
mod servers;
mod settings;
mod tenants;
mod world;

use settings::{cases, config};
