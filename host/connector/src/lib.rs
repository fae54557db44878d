//! Sources and sinks, a folder for each external system.
//!
//! | module | source | sink |
//! |---|---|---|
//! | [`files`] | lines of text files, a directory or a pattern, once or continuously | rolling part files, exactly once |
//! | [`socket`] | lines from a TCP connection | |
//! | [`datagen`] | records from a template, at a rate or flat out | |
//! | [`nexmark`] | the events of the Nexmark benchmark | |
//! | [`mod@print`] | | standard output |
//! | [`discard`] | | nowhere |
//! | [`tape`] | all that happens to a job, in one order | what comes of it, with its cause |
//!
//! A new connector is a new folder and one line in [`register`].

use wasmill_engine::registry::Registry;

pub mod datagen;
pub mod discard;
pub mod files;
pub mod nexmark;
pub mod print;
mod settings;
mod shard;
pub mod socket;
pub mod tape;

/// Makes all connectors of this crate known by name.
pub fn register(registry: &mut Registry) {
    registry
        .sources
        .insert("files".to_owned(), Box::new(files::source));
    registry
        .sources
        .insert("socket".to_owned(), Box::new(socket::source));
    registry
        .sources
        .insert("datagen".to_owned(), Box::new(datagen::source));
    registry
        .sources
        .insert("nexmark".to_owned(), Box::new(nexmark::source));
    registry.sources.insert("tape".to_owned(), Box::new(tape::source));
    registry.sinks.insert("tape".to_owned(), Box::new(tape::sink));
    registry.sinks.insert("files".to_owned(), Box::new(files::sink));
    registry.sinks.insert("print".to_owned(), Box::new(print::sink));
    registry
        .sinks
        .insert("discard".to_owned(), Box::new(discard::sink));
}
