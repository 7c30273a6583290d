//! The chart (helm/mafalda): what it makes of its values, and a life with it on a real cluster.

mod files;
mod helm;
mod install;
mod kind;
mod monitoring;
mod release;
mod values;
