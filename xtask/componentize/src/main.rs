//! Bindings and components for guests in C and Go.
//!
//! ```text
//! componentize bindings c|go WIT WORLD DIRECTORY      writes the bindings of a world
//! componentize encode WIT WORLD CORE COMPONENT [WAT]  makes a component of a core module
//! ```
//!
//! Invariant: both read the same WIT, so a component always matches the bindings it was compiled with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::Files;
use wit_bindgen_core::WorldGenerator;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The module name under which a preview 1 guest imports the system.
const ADAPTER: &str = "wasi_snapshot_preview1";

/// In place of a world's name: the module already holds its type, from the object file of the C bindings.
const LINKED: &str = "-";

/// The world that the adapter itself is written against.
const ADAPTER_WORLD: &str = "adapter";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bindings", language, wit, world, directory] => bindings(language, wit, world, Path::new(directory)),
        ["encode", wit, world, core, component] => encode(wit, world, core, component, None),
        ["encode", wit, world, core, component, adapter] => {
            encode(wit, world, core, component, Some(adapter))
        }
        _ => bail!("usage: bindings c|go WIT WORLD DIRECTORY, or encode WIT WORLD CORE COMPONENT [WAT]"),
    }
}

fn world(wit: &str, name: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("read {wit}"))?;
    let world = resolve.select_world(&[package], Some(name))?;
    Ok((resolve, world))
}

fn bindings(language: &str, wit: &str, name: &str, directory: &Path) -> Result<()> {
    let (mut resolve, world) = world(wit, name)?;
    let mut generator: Box<dyn WorldGenerator> = match language {
        "c" => wit_bindgen_c::Opts::default().build(),
        "go" => wit_bindgen_go::Opts {
            quiet: true,
            ..Default::default()
        }
        .build(),
        other => bail!("no generator for {other}: c or go"),
    };
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    for (name, contents) in files.iter() {
        let path = directory.join(name.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn encode(wit: &str, name: &str, core: &str, component: &str, adapter: Option<&str>) -> Result<()> {
    let mut module = fs::read(core).with_context(|| format!("read {core}"))?;
    if name != LINKED {
        let (resolve, world_id) = world(wit, name)?;
        embed_component_metadata(&mut module, &resolve, world_id, StringEncoding::UTF8, false)?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module)?;
    if let Some(path) = adapter {
        let mut bytes = wat::parse_file(path)?;
        let (resolve, world_id) = world(wit, ADAPTER_WORLD)?;
        embed_component_metadata(&mut bytes, &resolve, world_id, StringEncoding::UTF8, false)?;
        encoder.adapter(ADAPTER, &bytes)?;
    }
    let bytes = encoder.encode().context("make the component")?;
    fs::write(component, bytes).with_context(|| format!("write {component}"))
}
