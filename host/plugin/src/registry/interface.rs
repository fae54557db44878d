//! What a component imports and exports, compared with `wit/`.
//!
//! Invariant: a component that passes here has every export that its family needs, of the right type,
//! and imports nothing that no job could give it.

use std::fmt::Write as _;

mod wit;

use wasmill_model::function::{Description, FunctionDescription};
use wasmtime::Engine;
use wasmtime::component::Type;
use wasmtime::component::types::{Component, ComponentFunc, ComponentInstance, ComponentItem};

use self::wit::{
    BROADCAST, CHECKPOINTED, ELEMENT, ERROR, FRAME, IMPORTS, LIFECYCLE, MIGRATION, TRIGGER_RESULT,
    exports_of, exports_of_two_inputs,
};
use super::info::Family;
use crate::failure::printable_text;

/// Our package, version 1: every 1.x of it is compatible.
const PACKAGE: &str = "wasmill:function/";
/// Packages of WASI 0.2 that are linked, with nothing behind them.
const WASI_PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Bytes of a name or type of a component that an error shows.
const NAME_SHOWN_MAX: usize = 200;

/// A component's type, with the engine that it belongs to.
pub(super) struct Interface<'a> {
    pub(super) engine: &'a Engine,
    pub(super) component: Component,
}

impl Interface<'_> {
    /// Names of what it imports, those of types alone left out.
    pub(super) fn imports(&self) -> Vec<String> {
        self.component
            .imports(self.engine)
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Whether the host has all that the component imports.
    pub(super) fn check_imports(&self) -> Result<(), String> {
        self.component
            .imports(self.engine)
            .try_for_each(|(name, item)| self.check_import(name, &item.ty))
    }

    fn check_import(&self, name: &str, item: &ComponentItem) -> Result<(), String> {
        let shown = printable_text(name, NAME_SHOWN_MAX);
        if is_wasi(name) {
            return Ok(());
        }
        let refused = |why: &str| Err(format!("the component imports `{shown}`, {why}"));
        if name.starts_with("wasi:http/") {
            return refused(
                "but components have no network: build without HTTP (in JavaScript: jco componentize --disable http fetch-event)",
            );
        }
        let Some(interface) = name.strip_prefix(PACKAGE) else {
            return refused(
                "which the host does not offer: only `wasmill:function/*@1` and WASI 0.2 (cli, clocks, filesystem, io, random, sockets) may be imported",
            );
        };
        let known = version_1(interface).and_then(|name| IMPORTS.iter().find(|(known, _)| *known == name));
        let (Some((_, functions)), ComponentItem::ComponentInstance(instance)) = (known, item) else {
            return refused(
                "which version 1 of `wasmill:function` does not have: compare with wit/ of this host",
            );
        };
        let unknown = instance.exports(self.engine).find(|(name, item)| {
            matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(name)
        });
        match unknown {
            Some((function, _)) => refused(&format!(
                "whose function `{}` this host does not have: it is older than the component, or the name is wrong; compare with wit/",
                printable_text(function, NAME_SHOWN_MAX)
            )),
            None => Ok(()),
        }
    }

    /// Which family it implements, and the full name of the interface that has `describe`.
    pub(super) fn family(&self) -> Result<(Family, String), String> {
        for (family, exports) in [(Family::Frame, &FRAME), (Family::Typed, &LIFECYCLE)] {
            if let Some((name, instance)) = self.export(exports.0) {
                self.check_exports(&name, &instance, exports.1)?;
                return Ok((family, name));
            }
        }
        let found: Vec<_> = self
            .component
            .exports(self.engine)
            .map(|(name, _)| name)
            .take(8)
            .collect();
        let found = match found.is_empty() {
            true => "nothing".to_owned(),
            false => printable_text(&found.join(", "), NAME_SHOWN_MAX),
        };
        Err(format!(
            "the component exports {found}: expected `wasmill:function/frame-function@1.0.0` (the SDKs' world `frame`) or `wasmill:function/lifecycle@1.0.0` (a typed world such as `map`); build against wit/"
        ))
    }

    /// Whether a component of the typed family has what a function that it describes needs.
    pub(super) fn check_function(&self, function: &FunctionDescription) -> Result<(), String> {
        let kind = match function.second_input {
            Some(_) if function.broadcast_state.is_some() => BROADCAST,
            Some(_) if !function.kind.is_joined() => exports_of_two_inputs(function.kind),
            Some(_) => exports_of(function.kind),
            None => exports_of(function.kind),
        };
        let needed = [Some(kind), function.is_buffering().then_some(CHECKPOINTED)];
        for (interface, functions) in needed.into_iter().flatten() {
            let Some((name, instance)) = self.export(interface) else {
                return Err(format!(
                    "describe declares function `{}`, for which the component must export `{PACKAGE}{interface}@1.0.0`, and it does not: include that world, or correct the description",
                    function.name
                ));
            };
            self.check_exports(&name, &instance, functions)?;
        }
        Ok(())
    }

    /// Whether a component of either family has what a state needs that says which versions it migrates from.
    pub(super) fn check_migration(&self, description: &Description) -> Result<(), String> {
        let (interface, functions) = MIGRATION;
        if let Some((name, instance)) = self.export(interface) {
            return self.check_exports(&name, &instance, functions);
        }
        let mut states = description.functions.iter().flat_map(|function| &function.state);
        match states.find(|state| state.migrates_from.is_some()) {
            Some(state) => Err(format!(
                "describe declares `migrates-from` of state `{}`, for which the component must export \
                 `{PACKAGE}{interface}@1.0.0`, and it does not: include the world `migrating`, or correct the description",
                state.name
            )),
            None => Ok(()),
        }
    }

    fn export(&self, interface: &str) -> Option<(String, ComponentInstance)> {
        self.component.exports(self.engine).find_map(|(name, item)| {
            let is_it = name.strip_prefix(PACKAGE).and_then(version_1) == Some(interface);
            match item.ty {
                ComponentItem::ComponentInstance(instance) if is_it => Some((name.to_owned(), instance)),
                _ => None,
            }
        })
    }

    fn check_exports(
        &self,
        interface: &str,
        instance: &ComponentInstance,
        functions: &[(&str, &str)],
    ) -> Result<(), String> {
        for (name, expected) in functions {
            let expected = expected
                .replace("ELEMENT", ELEMENT)
                .replace("TRIGGER-RESULT", TRIGGER_RESULT)
                .replace("ERROR", ERROR);
            let found = match instance.get_export(self.engine, name).map(|item| item.ty) {
                Some(ComponentItem::ComponentFunc(function)) => signature(&function),
                _ => "nothing of that name".to_owned(),
            };
            if found != expected {
                return Err(format!(
                    "the export `{name}` of `{}` must be `{expected}`, and is {}: build against wit/ of this host",
                    printable_text(interface, NAME_SHOWN_MAX),
                    printable_text(&found, 2 * NAME_SHOWN_MAX)
                ));
            }
        }
        Ok(())
    }
}

/// Whether an interface is one of `wit/`, by its name alone.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PACKAGE)
}

fn is_wasi(name: &str) -> bool {
    let Some((package, rest)) = name.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let version = rest.split_once('@').map(|(_, version)| version);
    WASI_PACKAGES.contains(&package) && version.is_some_and(|version| version.starts_with("0.2."))
}

/// The name of an interface without its version, where that is 1.x and released.
fn version_1(name: &str) -> Option<&str> {
    let (name, version) = name.split_once('@')?;
    let is_1 = version.starts_with("1.") && !version.contains('-');
    is_1.then_some(name)
}

/// A function's type, as WIT writes it; names of parameters do not count.
fn signature(function: &ComponentFunc) -> String {
    let params: Vec<_> = function.params().map(|(_, ty)| text(&ty, DEPTH_MAX)).collect();
    let mut signature = format!("func({})", params.join(", "));
    for result in function.results() {
        // NOTE: writing to a string does not fail.
        let _ = write!(signature, " -> {}", text(&result, DEPTH_MAX));
    }
    match function.async_() {
        true => format!("async {signature}"),
        false => signature,
    }
}

/// How deep a type is written: ours are not deeper, and a stranger's may be without end.
const DEPTH_MAX: u32 = 6;

fn text(ty: &Type, depth: u32) -> String {
    let Some(depth) = depth.checked_sub(1) else {
        return "…".to_owned();
    };
    let optional = |ty: Option<Type>| ty.map_or("_".to_owned(), |ty| text(&ty, depth));
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", text(&list.ty(), depth)),
        Type::Option(option) => format!("option<{}>", text(&option.ty(), depth)),
        Type::Result(result) => format!("result<{}, {}>", optional(result.ok()), optional(result.err())),
        Type::Record(record) => {
            let fields: Vec<_> = record
                .fields()
                .map(|field| format!("{}: {}", field.name, text(&field.ty, depth)))
                .collect();
            format!("record{{{}}}", fields.join(", "))
        }
        Type::Variant(variant) => {
            let cases: Vec<_> = variant
                .cases()
                .map(|case| match case.ty {
                    Some(ty) => format!("{}({})", case.name, text(&ty, depth)),
                    None => case.name.to_owned(),
                })
                .collect();
            format!("variant{{{}}}", cases.join(", "))
        }
        Type::Tuple(tuple) => {
            let types: Vec<_> = tuple.types().map(|ty| text(&ty, depth)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Type::Enum(cases) => format!("enum{{{}}}", cases.names().collect::<Vec<_>>().join(", ")),
        other => format!("another type ({})", name_of(other)),
    }
}

/// Types that no signature of ours has: only their kind is told.
fn name_of(ty: &Type) -> &'static str {
    match ty {
        Type::Flags(_) => "flags",
        Type::Own(_) | Type::Borrow(_) => "resource",
        Type::Char => "char",
        Type::Float32 | Type::Float64 => "float",
        Type::Future(_) | Type::Stream(_) => "stream",
        _ => "integer",
    }
}

#[cfg(test)]
mod tests {
    use wasmill_model::function::FunctionKind;

    use super::wit::Exports;
    use super::*;

    /// Names of functions by interface, as `wit/` has them.
    fn functions_in_wit() -> Vec<(String, Vec<String>)> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut interfaces = Vec::new();
        for file in std::fs::read_dir(dir).unwrap() {
            for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
                let line = line.trim();
                if let Some(name) = line
                    .strip_prefix("interface ")
                    .and_then(|rest| rest.strip_suffix(" {"))
                {
                    interfaces.push((name.to_owned(), Vec::new()));
                } else if let Some((name, _)) = line.split_once(": func(") {
                    let (_, functions) = interfaces.last_mut().unwrap();
                    functions.push(name.trim_start_matches('%').to_owned());
                }
            }
        }
        interfaces
    }

    #[test]
    fn every_interface_in_wit_is_known_with_all_its_functions() {
        let kinds = [
            FunctionKind::Map,
            FunctionKind::Filter,
            FunctionKind::FlatMap,
            FunctionKind::KeySelector,
            FunctionKind::Reduce,
            FunctionKind::Aggregate,
            FunctionKind::Process,
            FunctionKind::Window,
            FunctionKind::Trigger,
            FunctionKind::Evictor,
            FunctionKind::WindowAssigner,
            FunctionKind::Async,
            FunctionKind::TimestampAssigner,
            FunctionKind::WatermarkGenerator,
            FunctionKind::Partitioner,
            FunctionKind::ProcessJoin,
            FunctionKind::Join,
            FunctionKind::CoGroup,
        ];
        let names =
            |(interface, functions): Exports| (interface, functions.iter().map(|(name, _)| *name).collect());
        let exports = kinds
            .map(exports_of)
            .into_iter()
            .chain(
                [FunctionKind::Map, FunctionKind::FlatMap, FunctionKind::Process].map(exports_of_two_inputs),
            )
            .chain([FRAME, LIFECYCLE, CHECKPOINTED, MIGRATION, BROADCAST])
            .map(names);
        let imports = IMPORTS.map(|(interface, functions)| (interface, functions.to_vec()));
        let mut known: Vec<(&str, Vec<&str>)> = exports.chain(imports).collect();
        known.sort_unstable();
        let mut written = functions_in_wit();
        written.sort_unstable();
        let written: Vec<(&str, Vec<&str>)> = written
            .iter()
            .map(|(name, fs)| (name.as_str(), fs.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(known, written);
    }

    #[test]
    fn only_released_versions_1_are_ours() {
        assert_eq!(version_1("types@1.0.0"), Some("types"));
        assert_eq!(version_1("types@1.7.3"), Some("types"));
        for other in [
            "types",
            "types@1",
            "types@2.0.0",
            "types@10.0.0",
            "types@1.1.0-draft",
        ] {
            assert_eq!(version_1(other), None, "{other}");
        }
    }

    #[test]
    fn wasi_0_2_is_linked_and_nothing_else_of_wasi() {
        for linked in [
            "wasi:cli/stdout@0.2.0",
            "wasi:sockets/tcp@0.2.9",
            "wasi:clocks/wall-clock@0.2.3",
        ] {
            assert!(is_wasi(linked), "{linked}");
        }
        for other in [
            "wasi:http/types@0.2.0",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout",
            "wasi:cli",
        ] {
            assert!(!is_wasi(other), "{other}");
        }
    }
}
