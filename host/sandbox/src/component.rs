//! From bytes to a component that fits, or to a sentence that says why not.

use std::collections::HashSet;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::code_cache::CodeCache;
use crate::imports::OFFERED;
use crate::refusal::Refusal;
use crate::wasi;

const HANDLER: &str = "carillon:plugin/handler";
/// The latest that is offered. Earlier patches of the same minor version load as well.
const VERSION: &str = "0.1.1";
/// What all interfaces of WASI are called together.
pub(crate) const WASI: &str = "wasi";
const MAGIC: &[u8] = b"\0asm";
/// How the names of the custom sections begin that say which world a module is made for.
const TYPES_SECTION: &[u8] = b"component-type";
/// The fifth and following bytes of a core module (Core Specification, 5.5.16).
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];

/// Checks and compiles a binary.
pub(crate) fn compile(
    engine: &Engine,
    cache: Option<&CodeCache>,
    bytes: &[u8],
    limit: usize,
) -> Result<Component, Refusal> {
    if bytes.len() > limit {
        return Err(Refusal::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    if !bytes.starts_with(MAGIC) {
        let start: Vec<u8> = bytes.iter().copied().take(16).collect();
        return Err(Refusal::NotWebAssembly {
            start: String::from_utf8_lossy(&start).into_owned(),
        });
    }
    if bytes.len() < 8 {
        return Err(Refusal::Damaged(format!(
            "it ends after {} bytes",
            bytes.len()
        )));
    }
    let cached = cache.and_then(|cache| cache.get(engine, bytes));
    let is_cached = cached.is_some();
    let component = match cached {
        Some(component) => component,
        None => compile_anew(engine, bytes)?,
    };
    check_exports(engine, &component)?;
    check_imports(engine, &component)?;
    // What is refused need not be kept.
    if let Some(cache) = cache.filter(|_| !is_cached) {
        cache.put(bytes, &component);
    }
    Ok(component)
}

fn compile_anew(engine: &Engine, bytes: &[u8]) -> Result<Component, Refusal> {
    let encoded;
    let bytes = if bytes[4..8] == CORE_MODULE {
        encoded = componentize(bytes)?;
        &encoded
    } else {
        bytes
    };
    Component::new(engine, bytes).map_err(|error| not_compiled(bytes, &error))
}

/// Tells what is damaged from what is whole and does not fit into the pool.
fn not_compiled(bytes: &[u8], error: &wasmtime::Error) -> Refusal {
    match Component::new(&Engine::default(), bytes) {
        Ok(_) => Refusal::Compile(format!("{error:#}")),
        Err(damage) => Refusal::Damaged(root_cause(&damage)),
    }
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    // The encoder takes a whole module for granted, and panics where it is not.
    wasmtime::Module::validate(&Engine::default(), module)
        .map_err(|damage| Refusal::Damaged(root_cause(&damage)))?;
    if !module
        .windows(TYPES_SECTION.len())
        .any(|bytes| bytes == TYPES_SECTION)
    {
        return Err(Refusal::NoComponentTypes(
            "it has no section `component-type`".to_owned(),
        ));
    }
    let encode = || {
        let encoder = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(module);
        encoder.and_then(|mut encoder| encoder.encode())
    };
    match std::panic::catch_unwind(encode) {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => {
            let reasons: Vec<String> = error.chain().map(ToString::to_string).collect();
            Err(Refusal::NoComponentTypes(reasons.join(": ")))
        }
        Err(_) => Err(Refusal::NoComponentTypes(
            "its component types cannot be read".to_owned(),
        )),
    }
}

fn check_exports(engine: &Engine, component: &Component) -> Result<(), Refusal> {
    let names: Vec<String> = component
        .component_type()
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let wanted = format!("{HANDLER}@{VERSION}");
    let handlers: Vec<&String> = names
        .iter()
        .filter(|name| split(name).0 == HANDLER)
        .collect();
    match handlers.as_slice() {
        [one] if split(one).1.starts_with("0.1.") => Ok(()),
        [] => {
            let found = if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            };
            Err(Refusal::MissingExport { wanted, found })
        }
        others => {
            let found = others
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(" and ");
            Err(Refusal::OtherVersion {
                found,
                offered: wanted,
            })
        }
    }
}

fn check_imports(engine: &Engine, component: &Component) -> Result<(), Refusal> {
    for (name, _) in component.component_type().imports(engine) {
        let (interface, version) = split(name);
        let is_ours = OFFERED.contains(&interface) && version.starts_with("0.1.");
        if is_ours || wasi::offers(interface, version) {
            continue;
        }
        let offered = OFFERED
            .map(|interface| format!("{interface}@{VERSION}"))
            .join(", ");
        return Err(Refusal::UnknownImport {
            name: name.to_owned(),
            offered,
        });
    }
    Ok(())
}

/// The interfaces that a component asks for, without their version; those of WASI as one.
pub(crate) fn asked(engine: &Engine, component: &Component) -> Vec<String> {
    let mut asked: Vec<String> = component
        .component_type()
        .imports(engine)
        .map(|(name, _)| match split(name).0 {
            interface if interface.starts_with("wasi:") => WASI.to_owned(),
            interface => interface.to_owned(),
        })
        .collect();
    let mut seen = HashSet::new();
    asked.retain(|interface| seen.insert(interface.clone()));
    asked
}

/// `package:name/interface@version` in two.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

pub(crate) fn root_cause(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}
